"""Assumptions, controls and agreement: estimates and knockouts are joined here and nowhere before."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
