"""The choice of a plan: the cheapest candidate path that the memory limit allows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tnrank._backend import traced_as_constant
from tnrank._typing import Label, Sizes
from tnrank.network._finders import candidates
from tnrank.network._given import Finder, GivenOrder, read
from tnrank.network._labels import checked_sizes, listed
from tnrank.network._path import walk
from tnrank.network._plan import ContractionPlan, Numbers, checked_varying
from tnrank.network._slicing import Slicing, choose_slices, parse_limit

if TYPE_CHECKING:
    from tnrank.network._network import Network


_KEPT = 64


@traced_as_constant
def keep_plan(network: Network, *args: Any) -> str:
    """Make a plan and keep it as an attribute of ``network``, whose name is returned.

    Compilers that trace Python cannot trace a search, nor take an object that comes out of one, but they read
    attributes.
    """
    plan = make_plan(network, *args)
    name = f"plan {id(plan)}"
    kept = network.__dict__
    if kept.get(name) is not plan:
        kept[name] = plan
        names = [key for key in kept if key.startswith("plan ")]
        for old in names[:-_KEPT]:
            kept.pop(old, None)
    return name


def make_plan(
    network: Network,
    sizes: Sizes,
    optimize: Any,
    memory_limit: int | str | None,
    batch: tuple[Label, ...],
    dtype: str,
    varying: Sequence[Label] = (),
) -> ContractionPlan:
    """See :meth:`tnrank.Network.plan`."""
    limit = parse_limit(memory_limit, dtype)
    values = tuple(checked_sizes(network, sizes).values())
    for label in batch:
        if label not in network._holders:
            raise ValueError(f"batch index {label!r} is on no tensor; indices: {listed(network.indices)}")
    choice = read(optimize, network)
    # Networks are equal in whatever order their tensors were given; a plan's path is not, so the order is in
    # the key.
    changing = checked_varying(network, varying)
    return _cached_plan(network, tuple(network.tensors), values, choice, limit, batch, changing)


@lru_cache(maxsize=1024)
def _cached_plan(
    network: Network,
    names: tuple[str, ...],
    values: tuple[int, ...],
    choice: str | Finder | GivenOrder,
    limit: int | None,
    batch: tuple[Label, ...],
    varying: tuple[Label, ...],
) -> ContractionPlan:
    sizes = dict(zip(network.indices, values, strict=True))
    if not network.tensors:
        return ContractionPlan(network, sizes, (), varying=varying)
    numbers = Numbers(network, sizes)
    every = tuple(dict.fromkeys((*network.batch_indices, *batch)))
    problem = numbers.problem(every)
    best: tuple[Any, ...] | None = None
    least: int | None = None
    for position, order in enumerate(candidates(problem, choice)):
        steps = walk(problem, list(order.path))
        slices, peak = choose_slices(steps, problem, limit, [(x, c) for x, c in order.slices if values[x] > 1])
        if slices is None:
            least = peak if least is None else min(least, peak)
            continue
        cost = Slicing(slices, numbers.sizes).costs(steps, numbers.given)
        score = (sum(f for f, _ in cost), max((s for _, s in cost), default=1), position)
        if best is None or score < best[0]:
            best = score, order.method, order.path, slices
    if best is None:
        raise ValueError(
            f"memory_limit of {limit:,} elements cannot be honored: slicing reaches no less than {least:,} "
            f"elements in the largest intermediate; give memory_limit={least} or more"
        )
    _, method, path, slices = best
    labels = network.indices
    return ContractionPlan(network, sizes, path, {labels[x]: chunk for x, chunk in slices}, method, varying)
