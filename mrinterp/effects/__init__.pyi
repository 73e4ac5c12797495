from ._claims import claim_verdicts as claim_verdicts
from ._claims import confirmation as confirmation
from ._claims import rests_on as rests_on
