"""Estimators of runs: the within regression, instrumental variables on the doses, the observational slope."""
