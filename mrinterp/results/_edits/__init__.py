"""Results of edited networks."""
