"""Grades: rules, as versioned data, applied to what a finished study has computed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
