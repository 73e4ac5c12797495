from ._calibrated import CalibrationPlan as CalibrationPlan
from ._calibrated import calibrated_estimates as calibrated_estimates
from ._calibrated import calibration_plan as calibration_plan
from ._claims import claim_verdicts as claim_verdicts
from ._claims import confirmation as confirmation
from ._claims import rests_on as rests_on
from ._sweep import over_all_studies as over_all_studies
