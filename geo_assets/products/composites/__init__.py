"""Composite images of AOI clusters, and the records of what they were made of."""
