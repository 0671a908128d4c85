"""The bound of Alder and Strassen, for tensors that are the multiplication of an associative algebra."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np

from tnrank.ranks._certified._exact import Matrix, inverse, null_space, to_fractions

_TRIES = 4
QUATERNIONS = (1, 3)
"""The signature of their trace form. Of the algebras over the reals no other has it."""


def algebra_bound(tensor: Matrix, field: str) -> int | None:
    """``2 dim A - (number of maximal two-sided ideals of A)``, or ``None`` if the tensor is no algebra's.

    One more for the quaternions: a division algebra that is no field has no decomposition of that many components.

    The tensor ``(n, n, n)`` of integers maps two vectors to a third in the last mode. Two invertible slices turn it
    into a product with a unit. Isotopic unital algebras are isomorphic if one is associative (Albert), so any two
    invertible slices decide.

    Source: Alder & Strassen 1981, *On the algorithmic complexity of associative algebras*; de Groote 1983,
        *Characterization of division algebras of minimal rank and the structure of their algorithm varieties*.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks._certified._algebra import algebra_bound
        >>> dual_numbers = np.array([[[1, 0], [0, 1]], [[0, 1], [0, 0]]])
        >>> algebra_bound(dual_numbers, "real")
        3
    """
    product = _product(tensor)
    if product is None or np.any(associator(product)):
        return None
    form = trace_form(product)
    if field == "real" and len(product) == sum(QUATERNIONS) and inertia(form) == QUATERNIONS:
        return 2 * len(product)
    return int(2 * len(product) - _maximal_ideals(product, form, field))


def _product(tensor: Matrix) -> Matrix | None:
    n, rng = tensor.shape[0], np.random.default_rng(0)
    tensor = to_fractions(tensor)
    for _ in range(_TRIES):
        left, right = (rng.integers(-3, 4, n).astype(object) for _ in range(2))
        x = inverse(np.tensordot(tensor, right, axes=(1, 0)))
        y = inverse(np.tensordot(left, tensor, axes=(0, 0)))
        if x is not None and y is not None:
            half = np.tensordot(x, tensor, axes=(1, 0))  # shape: (n, n, n), the first factor renamed
            return np.tensordot(half, y, axes=(1, 1)).transpose(0, 2, 1)
    return None


def associator(product: Matrix) -> Matrix:
    """``(ij)k - i(jk)``, shape ``(n, n, n, n)``."""
    left = np.tensordot(product, product, axes=(2, 0))  # shape: (i, j, k, :), (ij)k
    right = np.tensordot(product, product, axes=(2, 1)).transpose(2, 0, 1, 3)  # i(jk)
    return np.asarray(left - right)


def trace_form(product: Matrix) -> Matrix:
    """The matrix of ``(x, y) -> trace of the multiplication by xy``."""
    return np.asarray(np.tensordot(product, np.trace(product, axis1=1, axis2=2), axes=1))


def central_conditions(product: Matrix, form: Matrix) -> Matrix:
    """``(n, n^2)``, zero on the left of what is central modulo the radical."""
    commutator = product - product.transpose(1, 0, 2)
    return np.asarray(np.tensordot(commutator, form, axes=1).reshape(len(product), -1))


def _maximal_ideals(product: Matrix, form: Matrix, field: str) -> int:
    """The number of simple factors of A modulo its radical.

    The radical is the null space of the trace form (Dickson). On the center of the quotient, a product of fields,
    the form has signature (1, 0) for each real field and (1, 1) for each complex one.
    """
    central = null_space(central_conditions(product, form).T)
    positive, negative = inertia(central @ form @ central.T)
    return positive if field == "real" else positive + negative


def inertia(form: Matrix) -> tuple[int, int]:
    """The numbers of positive and negative eigenvalues of a symmetric rational matrix.

    All roots of the characteristic polynomial are real, so that Descartes' rule of signs is exact.
    """
    n = len(form)
    identity = to_fractions(np.eye(n, dtype=int))
    coefficients, power = [Fraction(1)], identity
    for k in range(1, n + 1):  # Faddeev and LeVerrier
        product = form @ power
        coefficients.append(-sum((product[i, i] for i in range(n)), Fraction(0)) / k)
        power = product + coefficients[-1] * identity
    flipped = [c * (-1) ** k for k, c in enumerate(coefficients)]
    return _sign_changes(coefficients), _sign_changes(flipped)


def _sign_changes(coefficients: list[Fraction]) -> int:
    signs = [c > 0 for c in coefficients if c != 0]
    return sum(a != b for a, b in pairwise(signs))
