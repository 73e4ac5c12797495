"""Ablation, clamping, interchange: the ground truth. Blind: never imports mr, coloc or diagnostics.

A `bench` runs edited forward passes; `knock_out` runs one of the ``kinds`` on every feature. On top of these stand
``designs`` (doses, pairs, sets, rescues, direct effects), causal ``abstraction``, cheap ``comparators``, and permanent
``edits`` of weights.
"""
