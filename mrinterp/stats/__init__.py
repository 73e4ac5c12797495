"""Numeric kernels on plain arrays: no labels, no files, nothing else of ours."""
