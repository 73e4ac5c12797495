from ._stages import STAGES as STAGES
from ._stages import Stage as Stage
from ._study import Study as Study
from ._sweep import Sweep as Sweep
