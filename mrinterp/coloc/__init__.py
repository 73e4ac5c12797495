"""Fine-mapping and colocalization: do two traits of a locus share their cause?

``report_pair`` says everything about one pair; ``colocalize`` compares all exposures with all outcomes, locus by
locus; ``finemap_summary`` (and its siblings for runs, cross-products and `MRData`) finds the credible sets that
``colocalize_signals`` and ``clpp`` compare; ``stepwise``, ``condition_on`` and ``colocalize_conditional`` separate
signals without them. ``cluster_traits`` groups many traits, ``heidi`` tests one pair, ``screen_runs`` is for very
many pairs of the same runs. `mrinterp.tables.read_coloc_table` reads a locus.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
