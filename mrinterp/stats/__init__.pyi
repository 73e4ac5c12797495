from .profile.strength import conditional_f_statistics as conditional_f_statistics
from .profile.strength import joint_rank_statistic as joint_rank_statistic
from .tests.direction import correlations_from_frequency as correlations_from_frequency
from .tests.direction import correlations_from_p as correlations_from_p
