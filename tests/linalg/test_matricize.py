from __future__ import annotations

import numpy as np
import pytest

from tnrank import get_backend
from tnrank.linalg import check_modes, matricization_sides, matricize


def test_rows_and_columns_are_ascending(backend_name: str) -> None:
    backend = get_backend(backend_name)
    x = np.arange(120.0).reshape(2, 3, 4, 5)
    for modes in ((2, 0), (0, 2), [0, 2], range(0, 3, 2)):
        found = backend.to_numpy(matricize(backend.asarray(x), modes))
        for i, j, k, m in ((0, 0, 0, 0), (1, 2, 3, 4), (1, 0, 2, 1)):
            assert found[i * 4 + k, j * 5 + m] == x[i, j, k, m]
    assert matricization_sides(x.shape, (0, 2)) == (8, 15)


def test_one_mode_may_be_a_number() -> None:
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(matricize(x, np.int64(1)), x.T)


@pytest.mark.parametrize(
    ("modes", "message"),
    [
        ((), r"got no mode of shape \(2, 3, 4\)"),
        ((0, 1, 2), "got all modes"),
        ((0, 3), r"mode 3 is out of range: shape \(2, 3, 4\) has the modes 0 .. 2"),
        ((-1,), "mode -1 is out of range"),
        ((1, 1), "mode 1 appears 2 times"),
    ],
)
def test_wrong_modes(modes: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_modes(modes, (2, 3, 4))


def test_modes_are_integers() -> None:
    with pytest.raises(TypeError, match=r"got 0\.5"):
        check_modes((0.5,), (2, 3))  # type: ignore[arg-type]
