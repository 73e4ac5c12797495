"""The truth benchmark: every method on every world whose causes are known, its scores, and the board that hides nothing."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
