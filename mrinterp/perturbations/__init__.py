"""Randomized perturbations of inputs that are arrays: the instruments of images and tables.

`perturb` makes the runs of a design: every input clean, and copies of it under each kind of perturbation, as
`PerturbedInputs`. For images take `Occlusion` or `PixelNoise`, for tables `ColumnResampling` (stays on the data's
support) or `ColumnNoise`. A perturbation of your own keeps to the protocol `Perturbation`. Needs no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
