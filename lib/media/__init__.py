"""The only modules that decode pictures, videos and rasters."""
