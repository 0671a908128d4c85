"""Closed forms: the dynamics law of any index of any network, and the bounds of the 2 x 2 problem.

All take arrays and gradients and give numbers; time is effective time, the sum of the learning rates.
"""

from __future__ import annotations

from tnrank.theory._baselines import minimum_nuclear_norm as minimum_nuclear_norm
from tnrank.theory._baselines import minimum_nuclear_norm_sensing as minimum_nuclear_norm_sensing
from tnrank.theory._baselines import minimum_schatten as minimum_schatten
from tnrank.theory._baselines import zero_fill as zero_fill
from tnrank.theory._components import LocalComponents as LocalComponents
from tnrank.theory._components import inner_indices as inner_indices
from tnrank.theory._components import local_components as local_components
from tnrank.theory._conserved import conserved_quantities as conserved_quantities
from tnrank.theory._conserved import unbalancedness as unbalancedness
from tnrank.theory._exponent import ExponentFit as ExponentFit
from tnrank.theory._exponent import fit_exponent as fit_exponent
from tnrank.theory._growth import escape_time as escape_time
from tnrank.theory._growth import integrated_law as integrated_law
from tnrank.theory._least_squares import minimum_l2 as minimum_l2
from tnrank.theory._least_squares import ridge_path as ridge_path
from tnrank.theory._near_low_rank import NearLowRank as NearLowRank
from tnrank.theory._near_low_rank import near_low_rank_bound as near_low_rank_bound
from tnrank.theory._near_low_rank import prune_components as prune_components
from tnrank.theory._nuclear_norm import NuclearNormResult as NuclearNormResult
from tnrank.theory._rates import Rates as Rates
from tnrank.theory._rates import predicted_rate as predicted_rate
from tnrank.theory._schatten import SchattenResult as SchattenResult
from tnrank.theory._singular_values import SingularValueRates as SingularValueRates
from tnrank.theory._singular_values import singular_value_rate as singular_value_rate
from tnrank.theory._two_by_two import TwoByTwo as TwoByTwo
from tnrank.theory._two_by_two_flow import BalancedFlow as BalancedFlow
