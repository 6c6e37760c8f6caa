"""geo_assets: satellite imagery and labelled areas become datasets, as one Dagster asset graph."""
