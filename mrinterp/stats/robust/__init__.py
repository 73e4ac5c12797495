"""Medians, modes, mixtures and M-scales: what outliers do not move."""
