"""Hierarchical ranks of any network from batched evaluations, its grid tensor never formed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._check import whole_number
from tnrank._explained import explained
from tnrank._typing import Function
from tnrank.circuits._templates import Host, Templates, Values
from tnrank.dimension_tree import DimensionTree
from tnrank.factorizations import CrossApproximation, cross_approximation
from tnrank.linalg import check_rtol, eps_of
from tnrank.ranks import ByNode, effective_rank_of, rank_report

if TYPE_CHECKING:
    from tnrank.factorizations import HierarchicalTucker
    from tnrank.ranks import RankReport

_RTOL = 1e-8
_FLOOR, _MARGIN = 64.0, 200.0  # times eps of the outputs: the least tolerance, and the one taken where none is given
_COARSE = 0.1  # a default tolerance above this would tell nothing
_SAMPLES = 64  # inputs by which the size of the values is known
_NOISE = 32.0  # times eps of the values' root mean square: differences that rounding makes
_LEAST_BUDGET = 100


@dataclass(frozen=True, repr=False, eq=False)
class NetworkRanks:
    """What :func:`network_ranks` measured. ``print`` shows a table.

    Attributes:
        tensor: the grid tensor in the hierarchical Tucker format; its ranks on other partitions are
            ``tnrank.separation_rank(found.tensor, modes)``.
        ranks: node -> number of singular values above ``rtol`` of the largest one there.
        singular_values: node -> values, descending, divided by the norm of the tensor.
        effective_ranks: node -> exponential of the entropy of the singular values.
        error: root mean square of the error at held-out inputs over that of the values.
        max_error: the largest error at held-out inputs over the largest value.
        evaluations: inputs that the network was evaluated at.
        status: ``"converged"``, or what ended the search: ``"budget"``, ``"max_rank"`` or ``"sweeps"``. The ranks are
            then those of the best approximation so far, lower bounds of the exact ones.
        rtol: the tolerance, chosen by the dtype of the outputs where none was given.
        atol: likewise, the size of differences that mean nothing.
        dtype: of the outputs.
        report: the :class:`~tnrank.ranks.RankReport` of ``tensor``.
    """

    tensor: HierarchicalTucker
    ranks: ByNode[int]
    singular_values: ByNode[Host]
    effective_ranks: ByNode[float]
    error: float
    max_error: float
    evaluations: int
    status: str
    rtol: float
    atol: float
    dtype: str
    report: RankReport = field(repr=False)

    @property
    def converged(self) -> bool:
        """Whether the error at held-out inputs is within the tolerance and the ranks have settled."""
        return self.status == "converged"

    @property
    def tree(self) -> DimensionTree:
        """The dimension tree whose nodes were measured."""
        return self.tensor.tree

    def __repr__(self) -> str:
        return (
            f"NetworkRanks: {self.status}, ranks up to {max(self.ranks.values())}, error {self.error:.1e} at held-out "
            f"inputs, {self.evaluations:,} evaluations, order {self.tree.order}"
        )

    def __str__(self) -> str:
        return "\n".join([*self._lines(), "", str(self.report)])

    def _lines(self) -> list[str]:
        state = {
            "converged": "converged: the error is within the tolerance, and the ranks have settled",
            "budget": "not converged, the next step takes more evaluations than are left: raise budget= or rtol=",
            "max_rank": "not converged, max_rank is reached: raise max_rank= or rtol=",
            "sweeps": "not converged, the ranks have not settled: raise rtol=",
        }
        lines = [
            f"ranks of a network from {self.evaluations:,} evaluations, order {self.tree.order}, {self.dtype} outputs",
            f"status     {state[self.status]}",
            f"error      {self.error:.1e}, largest {self.max_error:.1e}, at held-out inputs",
            f"tolerance  {self.rtol:.1e} of the values" + (f", or {self.atol:.1e} for rounding" if self.atol else ""),
        ]
        if not self.converged:
            lines.insert(2, "           read the ranks as lower bounds of the exact ones")
        if not max(self.ranks.values()):
            lines += [
                f"note       every value met was 0: scale the weights if {self.dtype} underflows, or give start=,",
                "           inputs where the network is not 0",
            ]
        return lines


@explained
def network_ranks(
    model: Function,
    templates: Any,
    tree: DimensionTree | Sequence[Any] | None = None,
    budget: int = 1_000_000,
    *,
    order: int | None = None,
    output: int | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    max_rank: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    start: Any = None,
    test_points: int = 500,
) -> NetworkRanks:
    """Hierarchical ranks of the grid tensor of any function or network, by cross approximation.

    The network is a black box, evaluated in batches at chosen combinations of templates: at order 64 as at order 4,
    where its ranks are low. The cost for rank k is about ``k^3`` evaluations a node of a binary tree.

    Args:
        model: takes ``(batch, N, p)``, or ``(batch, N)`` for templates that are numbers; gives ``(batch,)`` or
            ``(batch, classes)``. It is called with arrays of the templates' backend.
        templates: as for :func:`grid_tensor`.
        tree: a DimensionTree or nested tuples; the balanced one if not given.
        budget: the most evaluations, 100 or more; it is never exceeded.
        order: N, where ``templates`` is one array for all locations.
        output: which class is measured, where the network has several.
        rtol: directions that weigh less do not count, and the error at held-out inputs that is aimed at. ``None`` is
            1e-8, or 200 eps of the outputs where that is more (2.4e-5 in float32). The least is 64 eps.
        atol: differences of this size are no rank. ``None`` is 0 for float64 outputs, taken to be accurate relative to
            themselves, and 32 eps of the values' root mean square for coarser ones.
        max_rank: the most columns of any frame.
        seed: of the sampled inputs.
        batch_size: inputs in one call of the network; by default these have up to a million numbers.
        start: multi-indices ``(K, N)`` of templates where the network matters, such as training data.
        test_points: held-out inputs.

    Raises:
        TypeError: as :func:`grid_tensor`.
        ValueError: as :func:`cross_approximation`; if the network has several outputs and ``output`` names none of
            them, gives two values for one input, or has outputs too coarse for ``rtol``.

    Source: Ballani, Grasedyck & Kluge 2013 (cross approximation); Cohen & Shashua 2016 (grid tensors).

    Example:
        >>> import numpy as np
        >>> from tnrank.circuits import network_ranks
        >>> found = network_ranks(lambda x: np.cos(x.sum(axis=1)), np.array([0.0, 1.0, 2.0]), order=64)
        >>> found.status, found.ranks[0, 1], found.error < 1e-10
        ('converged', 2, True)
    """
    whole_number(seed, "seed")
    if order is None and isinstance(tree, DimensionTree):
        order = tree.order
    read = Templates(templates, order)
    if read.order < 2:
        raise ValueError("got one location: ranks need 2 or more, give order=N or one array of templates a location")
    budget = whole_number(budget, "budget, the most evaluations,", _LEAST_BUDGET)
    values = Values(model, read, batch_size)
    probes = read.probes()
    first = values(probes)
    column = _column(values.classes, output)
    values.check_repeats(first, values(probes[::-1])[::-1])
    rtol = _tolerance(rtol, values)

    function = _one_output(values, column)
    if atol is None:
        atol = _noise(function, values, seed)
    found = cross_approximation(
        function,
        read.shape,
        tree,
        rtol=rtol,
        atol=atol,
        max_rank=max_rank,
        budget=budget - values.count,
        seed=seed,
        start=read.checked(start),
        test_points=test_points,
        batch_size=values.batch_size,
    )
    return _measured(found, rtol, float(atol), values)


def _one_output(values: Values, column: int | None) -> Callable[[Host], Host]:
    """The values of one output of a network, in double precision."""

    def function(indices: Host) -> Host:
        found = values(indices)
        found = found if column is None else found[:, column]
        return found.astype(np.complex128 if found.dtype.kind == "c" else np.float64)

    return function


def _measured(found: CrossApproximation, rtol: float, atol: float, values: Values) -> NetworkRanks:
    report = rank_report(found.tensor, rtol=rtol, method="qr")
    norm = 1.0 if report.relative else report.norm or 1.0
    spectra: ByNode[Host] = ByNode({entry.node: np.array(entry.singular_values) / norm for entry in report.nodes})
    return NetworkRanks(
        tensor=found.tensor,
        ranks=report.hierarchical_rank,
        singular_values=spectra,
        effective_ranks=ByNode({node: float(effective_rank_of(s)) for node, s in spectra.items()}),
        error=found.error,
        max_error=found.max_error,
        evaluations=values.count,
        status=found.status,
        rtol=rtol,
        atol=atol,
        dtype=values.dtype,
        report=report,
    )


def _column(classes: int | None, output: int | None) -> int | None:
    output = output if output is None else whole_number(output, "output")
    if classes is None:
        if output in (None, 0):
            return None
        raise ValueError(f"the network returns one number an input, got output={output}: leave it out")
    if output is None:
        raise ValueError(
            f"the network returns {classes} numbers an input: give output=0 .. {classes - 1}, the one to measure, or a "
            "function of them, such as lambda x: model(x)[:, 0] - model(x)[:, 1]"
        )
    if output >= classes:
        raise ValueError(f"output is 0 .. {classes - 1}, one of the {classes} that the network returns, got {output}")
    return output


def _tolerance(rtol: float | None, values: Values) -> float:
    rtol = check_rtol(rtol)
    floor = _FLOOR * values.eps
    fix = "evaluate the network in float32 or float64, such as model.float() or model.double()"
    if values.eps <= eps_of("float64"):
        fix = f"give rtol={floor:.2g} or more"
    if rtol is None:
        rtol = max(_RTOL, _MARGIN * values.eps)
        if rtol > _COARSE:
            raise ValueError(f"{values.dtype} outputs show no ranks, their rounding is {values.eps:.2g}: {fix}")
    elif rtol < floor:
        raise ValueError(f"rtol {rtol:.3g} is below {floor:.3g}, what rounding leaves of {values.dtype} outputs: {fix}")
    return rtol


def _noise(function: Callable[[Host], Host], values: Values, seed: int) -> float:
    """What rounding does to outputs that are sums: nothing that matters in float64, unless terms cancel."""
    if values.eps <= eps_of("float64"):
        return 0.0
    rng = np.random.default_rng([seed, 2])
    shape = values.templates.shape
    found = function(rng.integers(0, shape, (_SAMPLES, len(shape))))
    top = float(abs(found).max())
    return _NOISE * values.eps * top * float(np.sqrt((abs(found / top) ** 2).mean())) if top else 0.0
