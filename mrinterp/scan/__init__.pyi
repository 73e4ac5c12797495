from ._marginal import marginal_scan as marginal_scan
from ._read_arrays import ArrayReading as ArrayReading
from ._read_arrays import read_arrays as read_arrays
