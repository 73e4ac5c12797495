"""Assumptions, controls and agreement: estimates and knockouts are joined here and nowhere before."""
