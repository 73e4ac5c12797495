"""The network of a study, opened from its plan and put on a design; its cut, its gradients."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
