"""Design x network -> Panel and SumStats, in canonical blocks, resumable shard by shard."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
