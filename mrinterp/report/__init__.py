"""What a reader sees: the terminal table, and the self-contained page."""
