"""Perturbations of inputs that are arrays: images, rows of a table. No torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
