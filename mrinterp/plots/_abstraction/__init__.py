"""Figures of causal abstraction."""
