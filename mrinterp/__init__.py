"""Mendelian randomization, colocalization and knockouts for the features of neural networks.

Three doors: `Study` for a network, `from_arrays` for runs already in hand, `run_mr` (and the
``mrinterp mr`` command) for a table of summary statistics. Everything else is in a namespace per
subject: ``mrinterp.knockouts``, ``mrinterp.features``, ... Importing this package loads neither torch
nor matplotlib.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
