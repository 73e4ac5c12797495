from ._catalog import catalog as catalog
from ._checkup import checkup as checkup
from ._describe import describe as describe
from ._report_effects import report_effects as report_effects
from ._stages import STAGES as STAGES
from ._stages import Stage as Stage
from ._study import Study as Study
from ._sweep import Sweep as Sweep
