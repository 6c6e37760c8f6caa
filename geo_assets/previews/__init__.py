"""Pictures for people: pure functions from arrays and frames to PNG bytes.

Imports nothing here, so that definitions stay light: matplotlib loads with the modules that draw.
Must not live here: files, Dagster, anything a result depends on.
"""
