"""Fine-mapping and colocalization: do two traits of a locus share their cause? Never imports mr."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
