"""Results of causal abstraction."""
