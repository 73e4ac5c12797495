from ._gated import gated_world as gated_world
from ._hierarchical_equality import built_network as built_network
from ._hierarchical_equality import equality_task as equality_task
from ._hierarchical_equality import plain_network as plain_network
from ._linear import linear_world as linear_world
