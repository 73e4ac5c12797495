"""A whole study. `STAGES` (in `_stages`) is its story; `_steps` says how each stage is carried out; `Study` is what a
person holds: it keeps the order, and offers what was found."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
