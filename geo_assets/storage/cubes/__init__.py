"""Cubes: how days are written, published whole, added to, opened and exported."""
