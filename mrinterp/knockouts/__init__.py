"""Ablation, clamping, interchange: the ground truth. Blind: never imports mr, coloc or diagnostics.

A `Bench` runs edited forward passes; `knock_out` runs one kind of knockout on every feature; on these stand the
designs (doses, pairs, sets, rescues, direct effects).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
