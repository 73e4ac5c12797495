"""Mendelian randomization: one registry of estimators, one driver, and estimators of runs. Never imports coloc."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
