"""Backbones, their runtimes, and the contract under which vectors may be compared."""
