"""Features as views of a site that can be read and written: units, heads, directions, latents."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
