from ._all_methods import all_methods as all_methods
from ._beside_knockout import beside_knockout as beside_knockout
from ._correlation import correlation as correlation
from ._gradient import attribution_patching as attribution_patching
from ._gradient import gradient as gradient
from ._gradient import gradient_times_activation as gradient_times_activation
from ._integrated_gradients import integrated_gradients as integrated_gradients
from ._linear_probe import linear_probe as linear_probe
