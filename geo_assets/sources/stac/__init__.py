"""STAC catalogs and APIs as a source of pixels."""
