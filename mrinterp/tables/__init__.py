"""Summary statistics and arrays: read, harmonized by allele, written.

``read`` takes one table with exposure and outcome side by side, or two tables that it harmonizes (paths or
data frames alike), and returns the `MRData` that `run_mr` estimates from. ``read_coloc_table`` and
``read_finemap_table`` read a locus for `mrinterp.coloc`. ``from_arrays`` makes a `Panel` of runs,
``summary_from_arrays`` an `MRData` of effects. ``write`` writes what was read or estimated.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
