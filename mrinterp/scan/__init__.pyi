from ._marginal import marginal_scan as marginal_scan
from ._read_arrays import ArrayReading as ArrayReading
from ._read_arrays import read_arrays as read_arrays
from ._scan_features import scan_features as scan_features
from ._scan_features import scan_memory as scan_memory
from ._scan_folder import ScanFolder as ScanFolder
from ._screen import Candidates as Candidates
from ._screen import screen_features as screen_features
