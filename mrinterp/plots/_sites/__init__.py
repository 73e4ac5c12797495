"""Figures over all features, of one site or many: evidence, effects, replication."""
