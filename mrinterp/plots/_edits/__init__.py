"""Figures of edited networks."""
