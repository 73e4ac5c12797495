"""Where estimates, predictions and knockouts are joined on arrays: the ladder of estimates. No torch, no networks."""
