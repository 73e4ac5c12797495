"""Approximate Bayes factors of shared causes."""
