"""Data: files as arrays, images that need no download, and targets for completion."""

from __future__ import annotations

from tnrank.data._csv import CsvFormat as CsvFormat
from tnrank.data._digits import digits as digits
from tnrank.data._files import read_array as read_array
from tnrank.data._files import read_mask as read_mask
from tnrank.data._idx import cifar10 as cifar10
from tnrank.data._idx import fashion_mnist as fashion_mnist
from tnrank.data._idx import mnist as mnist
from tnrank.data._idx import read_idx as read_idx
from tnrank.data._synthetic import low_rank_matrix as low_rank_matrix
from tnrank.data._synthetic import low_rank_tensor as low_rank_tensor
from tnrank.data._synthetic import observe as observe
