"""Mendelian randomization, colocalization and knockouts for the features of neural networks."""
