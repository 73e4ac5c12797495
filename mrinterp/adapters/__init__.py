"""A network behind one protocol: torch modules, Hugging Face, TransformerLens, nnsight; and what goes into it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
