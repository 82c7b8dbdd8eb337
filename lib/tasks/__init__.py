"""What is worth having from stored vectors, one task a file."""
