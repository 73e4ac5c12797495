from ._agreement import agreement as agreement
from ._steiger import steiger_by_instrument as steiger_by_instrument
from ._steiger import steiger_test as steiger_test
