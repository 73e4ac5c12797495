from ._columns import ColumnNoise as ColumnNoise
from ._columns import ColumnResampling as ColumnResampling
from ._images import Occlusion as Occlusion
from ._images import PixelNoise as PixelNoise
from ._perturb import Perturbation as Perturbation
from ._perturb import PerturbedInputs as PerturbedInputs
from ._perturb import perturb as perturb
