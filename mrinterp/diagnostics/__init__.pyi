from ._agreement import agreement as agreement
from ._claim_checks import claim_checks as claim_checks
from ._manipulation import identification_checks as identification_checks
from ._manipulation import manipulation_checks as manipulation_checks
from ._rerun import compare_claims as compare_claims
from ._steiger import steiger_by_instrument as steiger_by_instrument
from ._steiger import steiger_test as steiger_test
