"""Means, slopes, ratios and shares of rows that come in families."""
