from ._confounder_removal import remove_confounder as remove_confounder
from ._cut_units import cut_units as cut_units
from ._project_out import project_out as project_out
from ._prune_units import prune_units as prune_units
from ._pruning import prune as prune
from ._vestigial_features import vestigial_features as vestigial_features
