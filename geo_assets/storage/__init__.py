"""Formats and atomic publication: what lies on disk, and how it gets there whole or not at all."""
