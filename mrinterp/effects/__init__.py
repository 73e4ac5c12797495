"""What claims rest on: rungs joined with knockouts, verdicts, and whether other families confirm them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
