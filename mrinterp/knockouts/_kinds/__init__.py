"""What a knockout writes in place of a feature's value: one kind per file, and kinds held side by side."""
