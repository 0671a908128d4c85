"""Data: files as arrays, images as tensors and their twins, and targets for completion."""

from __future__ import annotations

from tnrank.data._csv import CsvFormat as CsvFormat
from tnrank.data._datasets import cifar10 as cifar10
from tnrank.data._datasets import fashion_mnist as fashion_mnist
from tnrank.data._datasets import images as images
from tnrank.data._datasets import mnist as mnist
from tnrank.data._digits import digits as digits
from tnrank.data._files import read_array as read_array
from tnrank.data._files import read_labeled_csv as read_labeled_csv
from tnrank.data._files import read_mask as read_mask
from tnrank.data._idx import read_idx as read_idx
from tnrank.data._images import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from tnrank.data._labels import check_labeled as check_labeled
from tnrank.data._labels import one_versus_all as one_versus_all
from tnrank.data._pixels import average_pool as average_pool
from tnrank.data._pixels import gray as gray
from tnrank.data._pixels import patches as patches
from tnrank.data._pixels import states as states
from tnrank.data._places import cache_folder as cache_folder
from tnrank.data._synthetic import low_rank_matrix as low_rank_matrix
from tnrank.data._synthetic import low_rank_tensor as low_rank_tensor
from tnrank.data._synthetic import observe as observe
from tnrank.data._twins import independent_pixels as independent_pixels
from tnrank.data._twins import pixel_permutation as pixel_permutation
from tnrank.data._twins import random_images as random_images
from tnrank.data._twins import random_labels as random_labels
from tnrank.data._twins import shuffled_pixels as shuffled_pixels
