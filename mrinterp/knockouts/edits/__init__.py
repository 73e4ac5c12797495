"""Permanent edits of weights, and what they change: confounders removed, units pruned."""
