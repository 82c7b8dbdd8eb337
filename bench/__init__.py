"""Measures speed and memory against what a reader can run: `python -m bench`, or `make bench`."""
