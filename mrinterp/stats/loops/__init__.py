"""Compiled loops: random normals, fused sums, threads over rows."""
