"""Attribution methods, the cheap answers to a knockout's question: correlation, probes, gradients."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
