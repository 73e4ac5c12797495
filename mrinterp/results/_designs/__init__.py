"""Results of experiments made of knockouts."""
