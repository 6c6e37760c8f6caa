"""How observations become products, block by block: composites, cubes, label features, chips.

What workers do lies here; it knows files and sources, but neither Dagster nor campaigns.
"""
