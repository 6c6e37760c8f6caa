"""Pure functions on arrays and frames: no Dagster, no network, no file formats.

Imports nothing of ours but ``geo_assets.errors``.
"""
