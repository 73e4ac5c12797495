from ._array_network import array_network as array_network
from ._cut import CutNetwork as CutNetwork
from ._cut import CutReading as CutReading
