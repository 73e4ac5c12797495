"""Estimators of one exposure, one a file, and what they share."""
