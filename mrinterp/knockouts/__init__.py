"""Ablation, clamping, interchange: the ground truth. Blind: never imports mr, coloc or diagnostics."""
