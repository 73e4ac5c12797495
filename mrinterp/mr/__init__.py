"""Estimators, one a file; a registry; one driver. Never imports coloc."""
