"""Figures of a locus."""
