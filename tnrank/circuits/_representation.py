"""Representation functions: from a patch to numbers that a circuit multiplies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._backend import backend_of, common_backend, get_backend
from tnrank._check import generator
from tnrank._explained import explained
from tnrank._typing import Array, Shape
from tnrank.circuits._lookup import looked_up

if TYPE_CHECKING:
    from tnrank._backend import Backend

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Representation:
    """Base of the representation functions: M functions of a patch, the same at every location."""

    features: int
    """The number of functions M."""

    @explained
    def __post_init__(self) -> None:
        if self.features < 1:
            raise ValueError(f"got {self.features} representation functions, needed at least 1")
        for name in ("values", "patch"):
            if getattr(self, name, 1) < 1:
                raise ValueError(f"got {name}={getattr(self, name)}, needed at least 1")

    @property
    def shapes(self) -> dict[str, Shape]:
        """Trainable arrays and their shapes; none by default."""
        return {}

    @explained
    def initial(
        self, seed: int | None = 0, backend: str | Backend = "numpy", dtype: str | None = None, device: Any = None
    ) -> dict[str, Array]:
        """Initial values of the trainable arrays."""
        target = get_backend(backend)
        dtype = dtype or target.default_dtype
        host = dtype if dtype in ("float32", "float64") else "float32"
        drawn = self._drawn(generator(seed))
        return {name: target.asarray(np.asarray(a, host), dtype, device) for name, a in drawn.items()}

    def _drawn(self, generator: np.random.Generator) -> dict[str, Host]:
        return {}

    def __call__(self, arrays: Mapping[str, Array], inputs: Array) -> Array:
        """Patches ``(batch, N, p)`` to features ``(batch, N, M)``."""
        raise NotImplementedError

    def ones(self) -> Host:
        """Coefficients for which the functions of a typical patch sum to 1, the start of the first filters."""
        return np.full(self.features, 1 / self.features)

    @property
    def spread(self) -> float:
        """Standard deviation of coefficients for which their sum with the functions of a patch has about 1."""
        return float(self.features**-0.5)


@dataclass(frozen=True)
class OneHot(Representation):
    """Function d is 1 for the patch d and 0 for all others; patches are whole numbers ``(batch, N)``.

    Nothing is computed: a circuit looks the filters up.

    Example:
        >>> from tnrank.circuits import Circuit, OneHot
        >>> Circuit.deep(4, representation=OneHot(3)).features
        3
    """

    def __call__(self, arrays: Mapping[str, Array], inputs: Array) -> Array:
        if len(inputs.shape) != 2 or backend_of(inputs).dtype_of(inputs).startswith(("float", "bfloat", "complex")):
            raise ValueError(
                f"got {backend_of(inputs).dtype_of(inputs)} inputs of shape {tuple(inputs.shape)}: a one-hot "
                f"representation needs whole numbers below {self.features} of shape (batch, N)"
            )
        return inputs

    def ones(self) -> Host:
        return np.ones(self.features)

    @property
    def spread(self) -> float:
        return 1.0


@dataclass(frozen=True)
class Embedding(Representation):
    """Trainable numbers for every value of a patch; patches are whole numbers ``(batch, N)`` below ``values``.

    Args:
        features: numbers a value.
        values: how many values a patch has.

    Example:
        >>> import numpy as np
        >>> from tnrank.circuits import Embedding
        >>> layer = Embedding(2, values=5)
        >>> layer(layer.initial(seed=0), np.array([[0, 4, 4]])).shape
        (1, 3, 2)
    """

    values: int

    @property
    def shapes(self) -> dict[str, Shape]:
        return {"table": (self.values, self.features)}

    def _drawn(self, generator: np.random.Generator) -> dict[str, Host]:
        noise = generator.standard_normal((self.values, self.features))
        # With mean 0 over the functions, so that the mean of all functions is 1 for every value.
        return {"table": 1 + 0.1 * (noise - noise.mean(axis=1, keepdims=True))}

    def __call__(self, arrays: Mapping[str, Array], inputs: Array) -> Array:
        backend = _common(arrays, inputs)
        if len(inputs.shape) != 2 or backend.dtype_of(inputs).startswith(("float", "bfloat", "complex")):
            raise ValueError(
                f"got {backend.dtype_of(inputs)} inputs of shape {tuple(inputs.shape)}: an embedding needs whole "
                f"numbers below {self.values} of shape (batch, N)"
            )
        sizes, fix = (self.values,) * inputs.shape[1], "Embedding(.., values=) says how many there are"
        return backend.permute(looked_up(arrays["table"], inputs, sizes, 1, backend, fix), (1, 0, 2))


@dataclass(frozen=True)
class CosSin(Representation):
    """``cos(pi x / 2)`` and ``sin(pi x / 2)`` of one number a patch, in [0, 1]: unit vectors.

    Source: Stoudenmire & Schwab 2016, Eq. 3.

    Example:
        >>> import numpy as np
        >>> from tnrank.circuits import CosSin
        >>> CosSin()({}, np.array([[[0.0], [1.0]]])).round(12).tolist()
        [[[1.0, 0.0], [0.0, 1.0]]]
    """

    features: int = 2

    @explained
    def __post_init__(self) -> None:
        if self.features != 2:
            raise ValueError(f"got {self.features} functions, a cosine and a sine are 2")

    def __call__(self, arrays: Mapping[str, Array], inputs: Array) -> Array:
        _check_patches(inputs, 1)
        xp = backend_of(inputs).xp
        angle = inputs * (np.pi / 2)
        return xp.concat([xp.cos(angle), xp.sin(angle)], axis=-1)

    def ones(self) -> Host:
        return np.ones(2)

    @property
    def spread(self) -> float:
        return 1.0


@dataclass(frozen=True)
class Affine(Representation):
    """Rectified affine functions ``max(0, x @ kernel + bias)`` of a patch of ``patch`` numbers.

    Args:
        features: the number of functions.
        patch: numbers a patch.

    Source: Cohen, Sharir & Shashua 2016, Sec. 3.1.

    Example:
        >>> import numpy as np
        >>> from tnrank.circuits import Affine
        >>> layer = Affine(4, patch=9)
        >>> layer(layer.initial(seed=0), np.zeros((2, 16, 9))).shape
        (2, 16, 4)
    """

    patch: int = 1

    @property
    def shapes(self) -> dict[str, Shape]:
        return {"kernel": (self.patch, self.features), "bias": (self.features,)}

    def _drawn(self, generator: np.random.Generator) -> dict[str, Host]:
        kernel = generator.standard_normal((self.patch, self.features))
        # With mean 0 over the functions, the mean of all functions is 1 whatever the patch, as long as none is cut.
        kernel = (kernel - kernel.mean(axis=1, keepdims=True)) / np.sqrt(self.patch)
        return {"kernel": kernel / max(1.0, float(abs(kernel).sum(axis=0).max())), "bias": np.ones(self.features)}

    def __call__(self, arrays: Mapping[str, Array], inputs: Array) -> Array:
        _check_patches(inputs, self.patch)
        xp = _common(arrays, inputs).xp
        found = inputs @ arrays["kernel"] + arrays["bias"]
        return xp.where(found > 0, found, 0 * found)


@dataclass(frozen=True)
class Gaussian(Representation):
    """Gaussian templates ``exp(-|x - center|^2 / (2 width^2))`` of a patch of ``patch`` numbers.

    Args:
        features: the number of templates.
        patch: numbers a patch, in [0, 1].

    Source: Cohen, Sharir & Shashua 2016, Sec. 3.1.

    Example:
        >>> import numpy as np
        >>> from tnrank.circuits import Gaussian
        >>> layer = Gaussian(3)
        >>> layer(layer.initial(seed=0), np.array([[[0.5]]])).round(3).tolist()
        [[[0.325, 1.0, 0.325]]]
    """

    patch: int = 1

    @property
    def shapes(self) -> dict[str, Shape]:
        return {"centers": (self.features, self.patch), "log_width": (self.features,)}

    def _drawn(self, generator: np.random.Generator) -> dict[str, Host]:
        if self.patch == 1:
            steps = max(self.features - 1, 1)
            centers = np.linspace(0, 1, self.features)[:, None] if self.features > 1 else np.full((1, 1), 0.5)
            width = 2 / 3 / steps
        else:
            # The same ones for every seed: ``ones`` counts on them.
            centers = np.random.default_rng(0).uniform(size=(self.features, self.patch))
            width = np.sqrt(self.patch) / 3
        return {"centers": centers, "log_width": np.full(self.features, np.log(width))}

    def __call__(self, arrays: Mapping[str, Array], inputs: Array) -> Array:
        _check_patches(inputs, self.patch)
        xp = _common(arrays, inputs).xp
        distance = xp.sum((inputs[..., None, :] - arrays["centers"]) ** 2, axis=-1)
        return xp.exp(-0.5 * distance * xp.exp(-2 * arrays["log_width"]))

    def ones(self) -> Host:
        patches = np.random.default_rng(0).uniform(size=(1, 4096, self.patch))
        # Most of an image is the darkest patch, and most of the rest the brightest: those two exactly, if there are
        # functions enough, or else the errors of all patches multiply.
        patches[0, 0], patches[0, 1] = 0, 1
        weight = np.ones(4096)
        weight[0], weight[1] = 1e7, 1e7 if self.features > 1 else 1
        values = self(self.initial(seed=0, dtype="float64"), patches)[0]
        found: Host = np.linalg.lstsq(values * weight[:, None], weight, rcond=None)[0]
        return found

    @property
    def spread(self) -> float:
        return 1.0


def _common(arrays: Mapping[str, Array], inputs: Array) -> Backend:
    """The backend of all.

    Raises:
        TypeError: if there are two.
    """
    return common_backend([*arrays.values(), inputs], lambda: [*arrays, "inputs"])


def _check_patches(inputs: Array, patch: int) -> None:
    name = backend_of(inputs).dtype_of(inputs)
    if len(inputs.shape) != 3 or inputs.shape[2] != patch or not name.startswith(("float", "bfloat")):
        raise ValueError(
            f"got {name} inputs of shape {tuple(inputs.shape)}, needed real numbers of shape (batch, N, {patch}): "
            "tnrank.circuits.patches(images, size) cuts images into patches"
        )


@explained
def patches(images: Array, size: int = 1) -> Array:
    """Square patches of images, row by row, ready for a circuit.

    Args:
        images: ``(batch, H, W)``, or ``(batch, channels, H, W)``.
        size: side of a patch, which divides H and W.

    Returns:
        ``(batch, H / size * W / size, channels * size * size)``.

    Raises:
        ValueError: for other numbers of axes, or a size that does not divide the sides.

    Example:
        >>> import numpy as np
        >>> from tnrank.circuits import patches
        >>> patches(np.zeros((5, 28, 28)), 2).shape
        (5, 196, 4)
    """
    backend, shape = backend_of(images), tuple(images.shape)
    if len(shape) not in (3, 4):
        raise ValueError(f"got images of shape {shape}, needed (batch, H, W) or (batch, channels, H, W)")
    batch, channels, height, width = shape if len(shape) == 4 else (shape[0], 1, *shape[1:])
    if size < 1 or height % size or width % size:
        raise ValueError(f"patches of {size} x {size} do not divide images of {height} x {width}")
    rows, columns = height // size, width // size
    cut = backend.reshape(images, (batch, channels, rows, size, columns, size))
    return backend.reshape(backend.permute(cut, (0, 2, 4, 1, 3, 5)), (batch, rows * columns, channels * size * size))
