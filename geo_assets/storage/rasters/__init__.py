"""Rasters: cloud-optimised GeoTIFFs, their blocks and overviews."""
