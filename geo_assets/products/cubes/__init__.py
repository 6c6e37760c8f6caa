"""Cubes of AOI clusters: each clear day made once."""
