"""From a network and a design to the arrays that estimates are made of.

`read_arrays` runs a network on perturbed images or tables and reads features, bypass and outcomes (an `ArrayReading`);
`mrinterp.from_arrays` makes a panel of them. `marginal_scan` turns any panel into summary statistics: the effect of every
instrument on every feature and outcome.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
