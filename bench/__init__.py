"""How fast Dinolake is, each figure a ratio to something a reader can run: `make bench`, `make bench-quick`."""
