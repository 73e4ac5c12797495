"""Causal abstraction: high-level models, interchange accuracy, searched alignments."""
