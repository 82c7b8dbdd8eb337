"""What Dinolake computes. Knows nothing of Dagster."""
