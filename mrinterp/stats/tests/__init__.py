"""Tail probabilities and tests: equivalence, heterogeneity, shape, direction."""
