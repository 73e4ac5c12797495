"""What scans of very many features found."""
