"""Randomized perturbations of inputs that are arrays: the instruments of tokens, images and tables.

`perturb` makes the runs of a design: every input clean, and copies of it under each kind of perturbation, as
`PerturbedInputs`, whose `columns` are the arguments of `mrinterp.from_arrays`. For token numbers take `TokenSubstitution`,
`TokenDeletion`, `TokenMasking`, `TokenSwap`, `TokenResampling` or `Paraphrases`, for embedded tokens `EmbeddingNoise`, for images `Occlusion` or `PixelNoise`, for tables `ColumnResampling` (stays on the data's
support) or `ColumnNoise`. `Saturation` perturbs one place at a time, `DoseSeries` at several doses;
`observed_variants` finds differences that a corpus holds already. A perturbation of your own keeps to the protocol `Perturbation`. Needs no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
