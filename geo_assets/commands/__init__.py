"""What ``geo-assets`` does beyond Dagster's own commands; one module for each command."""
