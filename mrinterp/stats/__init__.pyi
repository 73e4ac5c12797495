from .clustered.families_needed import FamiliesNeeded as FamiliesNeeded
from .clustered.families_needed import families_for_width as families_for_width
from .clustered.rectified import Rectified as Rectified
from .clustered.rectified import rectified_mean as rectified_mean
from .profile.strength import conditional_f_statistics as conditional_f_statistics
from .profile.strength import joint_rank_statistic as joint_rank_statistic
from .tests.direction import correlations_from_frequency as correlations_from_frequency
from .tests.direction import correlations_from_p as correlations_from_p
