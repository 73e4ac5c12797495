"""Regression with known errors in both variables: profile objectives, their tests, strength of instruments."""
