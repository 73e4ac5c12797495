"""Figures of a study: the ladder, the knockouts, and how the two agree."""
