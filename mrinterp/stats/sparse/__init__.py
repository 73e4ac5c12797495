"""Sums of a few effects: SuSiE, credible sets, and checks of a correlation matrix."""
