"""Cheap answers to the same question: correlation, probes, gradients."""
