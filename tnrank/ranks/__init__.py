"""Every notion of rank: numbers read off spectra, of matrices and of tensors along a dimension tree."""

from __future__ import annotations

from tnrank._by_node import ByNode as ByNode
from tnrank.ranks._certified._certificate import Certificate as Certificate
from tnrank.ranks._certified._target import Bound as Bound
from tnrank.ranks._certified._tensor_rank import TensorRank as TensorRank
from tnrank.ranks._certified._tensor_rank import tensor_rank as tensor_rank
from tnrank.ranks._core_consistency import core_consistency as core_consistency
from tnrank.ranks._entropy import entanglement_entropy as entanglement_entropy
from tnrank.ranks._entropy import renyi_entropy_of as renyi_entropy_of
from tnrank.ranks._matrix import effective_rank as effective_rank
from tnrank.ranks._matrix import matrix_rank as matrix_rank
from tnrank.ranks._matrix import participation_ratio as participation_ratio
from tnrank.ranks._matrix import singular_values as singular_values
from tnrank.ranks._matrix import spectral_entropy as spectral_entropy
from tnrank.ranks._matrix import stable_rank as stable_rank
from tnrank.ranks._matrix_norms import condition_number as condition_number
from tnrank.ranks._matrix_norms import distance_to_rank as distance_to_rank
from tnrank.ranks._matrix_norms import ky_fan_norm as ky_fan_norm
from tnrank.ranks._matrix_norms import nuclear_norm as nuclear_norm
from tnrank.ranks._matrix_norms import schatten_norm as schatten_norm
from tnrank.ranks._norms import condition_number_of as condition_number_of
from tnrank.ranks._norms import distance_to_rank_of as distance_to_rank_of
from tnrank.ranks._norms import ky_fan_norm_of as ky_fan_norm_of
from tnrank.ranks._norms import nuclear_norm_of as nuclear_norm_of
from tnrank.ranks._norms import schatten_norm_of as schatten_norm_of
from tnrank.ranks._numbers import effective_rank_of as effective_rank_of
from tnrank.ranks._numbers import numerical_rank_of as numerical_rank_of
from tnrank.ranks._numbers import participation_ratio_of as participation_ratio_of
from tnrank.ranks._numbers import spectral_entropy_of as spectral_entropy_of
from tnrank.ranks._numbers import stable_rank_of as stable_rank_of
from tnrank.ranks._rank_scan import RankScan as RankScan
from tnrank.ranks._rank_scan import ScannedRank as ScannedRank
from tnrank.ranks._rank_scan import rank_scan as rank_scan
from tnrank.ranks._report import MatrixRanks as MatrixRanks
from tnrank.ranks._report import NodeRanks as NodeRanks
from tnrank.ranks._report import RankReport as RankReport
from tnrank.ranks._report import rank_report as rank_report
from tnrank.ranks._suggest._jobs import TreeCandidate as TreeCandidate
from tnrank.ranks._suggest._suggest_tree import TreeSuggestion as TreeSuggestion
from tnrank.ranks._suggest._suggest_tree import suggest_tree as suggest_tree
from tnrank.ranks._tensor import hierarchical_rank as hierarchical_rank
from tnrank.ranks._tensor import hierarchical_singular_values as hierarchical_singular_values
from tnrank.ranks._tensor import multilinear_rank as multilinear_rank
from tnrank.ranks._tensor import separation_rank as separation_rank
from tnrank.ranks._tensor import tt_ranks as tt_ranks
