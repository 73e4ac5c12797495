"""Estimators of several exposures at once, one a file, and what they share."""
