"""A network put on its inputs, with the cut at which features are read.

`array_network` is where to begin with images and tables: it puts a network on N arrays and returns a `CutNetwork`, which
`mrinterp.scan.read_arrays` reads; `CutReading` is what one of its runs shows. Studies of text make their network from the
study file themselves.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
