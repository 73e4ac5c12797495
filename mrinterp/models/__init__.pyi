from ._array_network import array_network as array_network
