"""Tables of summary statistics and arrays: one schema, one validator, readers, writers and harmonization."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
