"""The design of a text study: prompts, splits, runs, instruments and their doses. Needs no torch."""
