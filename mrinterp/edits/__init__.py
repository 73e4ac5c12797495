"""Permanent edits of weights, and what they change: confounders removed, units pruned."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
