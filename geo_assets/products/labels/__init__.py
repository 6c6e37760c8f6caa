"""Features of areas and days, sampled and labelled block by block."""
