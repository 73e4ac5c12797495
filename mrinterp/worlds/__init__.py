"""Networks and data whose causes are known: for tests, benchmarks and tutorials."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
