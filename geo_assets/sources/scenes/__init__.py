"""Scenes: which are used, in which order they count, and how the pixels of one are read."""
