"""Figures of assumptions, confounders and controls."""
