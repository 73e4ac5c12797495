"""How two sets of noisy numbers agree: lines with errors in both, rankings, areas."""
