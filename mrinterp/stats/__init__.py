"""Numeric kernels on plain arrays: no labels, no files, nothing else of ours.

The names here are those that a statistician asks for by themselves; the rest serve the estimators, one subject a folder.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
