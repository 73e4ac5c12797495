"""Figures of a two-sample analysis."""
