"""The Dagster assets: thin declarations over lib, one file a line."""
