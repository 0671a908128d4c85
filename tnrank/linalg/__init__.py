"""Linear algebra above the backends: matricizations and singular values with stated accuracy floors."""

from __future__ import annotations

from tnrank.linalg._matricize import check_modes as check_modes
from tnrank.linalg._matricize import matricization_sides as matricization_sides
from tnrank.linalg._matricize import matricize as matricize
from tnrank.linalg._range_finder import randomized_dominant as randomized_dominant
from tnrank.linalg._range_finder import randomized_floor as randomized_floor
from tnrank.linalg._range_finder import range_finder as range_finder
from tnrank.linalg._spectra import scaled_singular_values as scaled_singular_values
from tnrank.linalg._spectra import singular_values as singular_values
from tnrank.linalg._tolerance import accuracy_floor as accuracy_floor
from tnrank.linalg._tolerance import check_rtol as check_rtol
from tnrank.linalg._tolerance import choose_method as choose_method
from tnrank.linalg._tolerance import default_rtol as default_rtol
from tnrank.linalg._tolerance import eps_of as eps_of
