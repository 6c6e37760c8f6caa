"""Chips: their formats, the catalog that knows them, and the store that both converge in."""
