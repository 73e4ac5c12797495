"""Figures of experiments made of knockouts."""
