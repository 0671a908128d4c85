"""A valid call of every public callable: the starting point from which one argument at a time goes wrong."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from importlib import import_module
from typing import Any

import numpy as np

import tnrank
from tnrank import layers
from tnrank.circuits import Circuit
from tnrank.completion import Incomplete, Settings
from tnrank.experiments import make_recipe
from tnrank.ranks import rank_scan
from tnrank.training import recorders

ROOMS = (
    "circuits",
    "completion",
    "data",
    "dimension_tree",
    "experiments",
    "factorizations",
    "layers",
    "linalg",
    "network",
    "plots",
    "radar",
    "ranks",
    "theory",
    "training",
    "training.recorders",
)
TREE = tnrank.DimensionTree.balanced(4)
DENSE = np.random.default_rng(0).standard_normal((2, 3, 2, 3))
CUBE = tnrank.CPFactorization.random((2, 2, 2), rank=2, seed=0).to_dense()
MATRIX = np.array([[3.0, 1.0, 0.5], [0.2, 2.0, 0.1]])
SAMPLES = np.random.default_rng(0).random((6, 4))
HOLED = np.where(np.eye(4, 3), np.nan, np.arange(1.0, 13).reshape(4, 3))
if "torch" in tnrank.available_backends():
    HOLED = tnrank.get_backend("torch").asarray(HOLED)  # whose own backend compiles nothing
SPECTRUM = np.array([2.0, 1.0, 0.5])
INDICES = np.argwhere(np.ones((2, 3, 2)))[[0, 3, 5, 6, 8, 11]]
VALUES = np.arange(1.0, len(INDICES) + 1)
IMAGES = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
LABELS = np.array([0, 1, 1])
CELLS = np.array([[0, 0], [1, 1], [2, 2], [0, 1]])
WEIGHTS = {"fc.weight": MATRIX, "fc.bias": np.ones(2)}
MF = tnrank.MatrixFactorization.random((3, 3), depth=2, std=0.5, seed=0)
CP = tnrank.CPFactorization.random((2, 3, 2), rank=2, seed=0)
HTF = tnrank.HierarchicalFactorization.random((2, 3, 2, 3), tree=TREE, width=2, seed=0)
TT = tnrank.TensorTrain.random((2, 3, 2, 3), rank=2, seed=0)
OPERATOR = tnrank.TensorTrainOperator.random((2, 3), (2, 3), rank=2, seed=0)
HT = tnrank.HierarchicalTucker.from_dense(DENSE)
TUCKER = tnrank.Tucker.from_dense(DENSE)
NETWORK = tnrank.Network({"A": "ir", "B": "jr"}, "ij")
ARRAYS = {"A": np.ones((2, 3)), "B": np.ones((4, 3))}
SIZES = {"i": 2, "j": 4, "r": 3}
NF = tnrank.factorizations.NetworkFactorization(NETWORK, ARRAYS)
SUM = tnrank.factorizations.sum_of([CP, CP], [1.0, 2.0])
CIRCUIT = Circuit.deep(4, 2, 3)
HTF_OF_CIRCUIT = CIRCUIT.to_factorization(CIRCUIT.initial_weights())
_RUN = tnrank.complete(CP, INDICES, VALUES, steps=4, record=[recorders.Rates("r", every=2)])
RATES = next(iter(_RUN.history.values()))
SMALL = {"largest_order": 8, "channels": 1, "features": 2, "largest_rank": 20, "backend": "numpy"}
REPRESENTATION = tnrank.circuits.CosSin(2)
LINEAR = layers.weight_format("linear", (6, 4), "tt", rank=2)
CONV = layers.weight_format("conv", (4, 3, 3), "cp", rank=2)
TENSORS = layers.initial(LINEAR, 0, "numpy", "float64")

BY_NAME: dict[str, Any] = {
    "x": CP,
    "other": CP,
    "tensor": CUBE,
    "M": MATRIX,
    "s": SPECTRUM,
    "matrix": MATRIX,
    "tree": TREE,
    "shape": (2, 3, 2),
    "modes": (0, 1),
    "rank": 2,
    "r": 1,
    "k": 1,
    "p": 1.0,
    "indices": INDICES,
    "values": VALUES,
    "network": NETWORK,
    "arrays": ARRAYS,
    "sizes": SIZES,
    "dtype": "float64",
    "path": "sample",
    "fn": abs,
    "name": "A",
    "label": "r",
    "mode": 0,
    "features": 2,
    "weights": CIRCUIT.initial_weights(seed=0),
    "circuit": CIRCUIT,
    "text": "((0, 1), (2, 3))",
    "order": 4,
    "arity": 2,
    "nested": ((0, 1), 2),
    "names": {0: 1, 1: 2, 2: 0},
    "height": 2,
    "width": 2,
    "node": (0, 1),
    "key": (0, 1),
    "at": (0, 1),
    "function": lambda i: i.sum(axis=1) + 1.0,
}
"""Arguments by parameter; what a callable needs otherwise stands in ``CALLS``."""

CALLS: dict[str, dict[str, Any]] = {
    "circuits.Affine": {},
    "circuits.Circuit": {"grid": (4,), "features": 2, "levels": CIRCUIT.levels},
    "circuits.Circuit.deep": {"grid": 4, "features": 2, "channels": 3},
    "circuits.Circuit.shallow": {"grid": 4, "features": 2, "channels": 3},
    "circuits.Circuit.forward": {"weights": CIRCUIT.initial_weights(), "features": np.ones((5, 4, 2))},
    "circuits.Circuit.from_factorization": {"x": HTF},
    "circuits.Circuit.to_factorization": {},
    "circuits.Circuit.weights_of": {"x": HTF_OF_CIRCUIT},
    "circuits.Circuit.represent": {"arrays": {}, "inputs": np.ones((5, 4, 2))},
    "circuits.Embedding": {"values": 3},
    "circuits.Level": {"channels": 2, "window": (2,)},
    "circuits.evaluate": {"features": [np.ones((5, d)) for d in (2, 3, 2)]},
    "circuits.generalized_product": {"a": CUBE, "b": CUBE},
    "circuits.generalized_tensor": {},
    "circuits.grid_tensor": {"f": lambda inputs: inputs.prod(axis=1), "templates": np.array([1.0, 2.0]), "order": 3},
    "circuits.min_cut": {"modes": (0,)},
    "circuits.network_ranks": {
        "model": lambda inputs: inputs.prod(axis=1),
        "templates": np.array([1.0, 2.0]),
        "order": 3,
        "budget": 5000,
    },
    "circuits.partitions": {"grid": 4},
    "circuits.patches": {"images": np.ones((2, 4, 4))},
    "circuits.separation_report": {},
    "completion.Settings": {},
    "completion.fill_missing": {"array": HOLED, "steps": 3, "hold_out": 0, "backend": "numpy"},
    "completion.filling": {"given": Incomplete.of(HOLED), "settings": Settings(steps=3, hold_out=0)},
    "data.read_array": {},
    "data.read_labeled_csv": {"column": "kind"},
    "data.read_mask": {},
    "data.average_pool": {"images": IMAGES, "size": 2},
    "data.check_labeled": {"images": IMAGES, "labels": LABELS},
    "data.cifar10": {},
    "data.gray": {"images": IMAGES},
    "data.images": {"name": "digits"},
    "data.independent_pixels": {"images": IMAGES},
    "data.one_versus_all": {"labels": LABELS},
    "data.patches": {"images": IMAGES, "size": 2},
    "data.pixel_permutation": {"number": 4},
    "data.random_images": {"images": IMAGES},
    "data.random_labels": {"labels": LABELS},
    "data.shuffled_pixels": {"images": IMAGES},
    "data.states": {"images": IMAGES},
    "data.mnist": {},
    "data.fashion_mnist": {},
    "data.read_idx": {},
    "data.low_rank_matrix": {"shape": (3, 4)},
    "data.observe": {"count": 3},
    "dimension_tree.Node": {"height": 1},
    "dimension_tree.DimensionTree.permute": {"order": (1, 0, 3, 2)},
    "experiments.make_recipe": {"name": "analogy"},
    "ranks.onsets": {"steps": [0, 1, 2], "values": np.ones((3, 2))},
    "ranks.separated": {"found": [1, 5, 9]},
    "experiments.read_config": {"folder": "sample"},
    "experiments.read_metrics": {"folder": "sample"},
    "factorizations.CPFactorization": {"factors": CP.factors},
    "factorizations.CPFactorization.from_dense": {"rank": 2, "starts": 2, "steps": 50},
    "factorizations.FactorizationSum.from_dense": {"rank": 2, "starts": 2, "steps": 50},
    "factorizations.FactorizationSum": {"terms": [CP, CP], "weights": [1.0, 2.0]},
    "factorizations.HierarchicalFactorization": {"matrices": HTF.matrices},
    "factorizations.HierarchicalTucker": {
        "leaves": {mode: np.ones((2, 2)) for mode in range(4)},
        "transfers": {(0, 1): np.ones((2, 2, 2)), (2, 3): np.ones((2, 2, 2)), (0, 1, 2, 3): np.ones((2, 2))},
    },
    "factorizations.MatrixFactorization": {"layers": MF.layers},
    "factorizations.MatrixFactorization.random": {"shape": (3, 4)},
    "factorizations.NetworkFactorization": {},
    "factorizations.NetworkFactorization.random": {},
    "factorizations.TensorTrain": {"cores": TT.cores},
    "factorizations.TensorTrainOperator": {"cores": OPERATOR.cores},
    "factorizations.TensorTrainOperator.from_dense": {
        "matrix": OPERATOR.to_matrix(),
        "row_shape": (2, 3),
        "column_shape": (2, 3),
    },
    "factorizations.TensorTrainOperator.from_factorization": {"x": HT},
    "factorizations.TensorTrainOperator.random": {"row_shape": (2, 3), "column_shape": (3, 2)},
    "factorizations.Tucker": {"core": TUCKER.core, "factors": TUCKER.factors},
    "factorizations.compress": {"array": DENSE},
    "factorizations.cross_approximation": {"function": lambda i: i.sum(axis=1) + 1.0},
    "factorizations.data_tensor": {"X": np.full((3, 2), 0.5), "features": "cos_sin"},
    "factorizations.deepen": {"along": {"A": "r"}, "depth": 2},
    "factorizations.load": {},
    "factorizations.sum_of": {"terms": [CP, CP]},
    "layers.Plans.apply": {"arrays": TENSORS, "x": np.ones((5, 4))},
    "layers.Plans.at": {"rows": 5},
    "layers.WeightFormat": {
        "structure": "tt",
        "kind": "linear",
        "shape": (6, 4),
        "layout": LINEAR.layout,
        "ranks": LINEAR.ranks,
    },
    "layers.WeightFormat.dense": {"arrays": TENSORS},
    "layers.WeightFormat.from_tensor": {"tensor": np.ones((2, 3, 2, 2))},
    "layers.WeightFormat.of_shapes": {"shapes": LINEAR.shapes},
    "layers.WeightFormat.to_tensors": {"weight": np.ones((6, 4))},
    "layers.WeightFormat.value": {"arrays": TENSORS},
    "layers.WeightFormat.with_ranks": {"ranks": (1, 2, 1)},
    "layers.Plans": {"weight": LINEAR},
    "layers.dense_from": {"weight": CONV},
    "layers.fit_weight": {"dense": MATRIX, "kind": "linear", "structure": "mf", "rank": 1},
    "layers.format_of_factorization": {"x": OPERATOR},
    "layers.forward_flops": {"weight": LINEAR},
    "layers.initial": {"weight": LINEAR, "seed": 0, "backend": "numpy"},
    "layers.initial_bias": {"weight": LINEAR, "seed": 0, "backend": "numpy"},
    "layers.input_moments": {"inputs": MATRIX, "features": MATRIX.shape[1]},
    "layers.patch_moments": {"images": np.ones((2, 2, 4, 4)), "window": (3, 3)},
    "layers.learning_rates": {"weight": LINEAR},
    "layers.match_rules": {"rules": {"a*": {"rank": 2}}, "layers": {"a1": MATRIX}},
    "layers.naming": {"layer": "head"},
    "layers.plans_of": {"weight": LINEAR},
    "layers.prune_weight": {"weight": LINEAR, "arrays": TENSORS, "rtol": 0.1},
    "layers.stages_of": {"weight": CONV, "arrays": layers.initial(CONV, 0, "numpy", "float64")},
    "layers.weight_format": {"kind": "linear", "weight_shape": (6, 4), "structure": "tt", "rank": 2},
    "layers.write_lora": {"folder": "sample", "changes": {"a": (LINEAR, TENSORS)}},
    "linalg.check_modes": {},
    "linalg.matricization_sides": {},
    "linalg.matricize": {"x": DENSE},
    "linalg.randomized_dominant": {"backend": tnrank.get_backend("numpy"), "allowed": 0.5},
    "linalg.range_finder": {"rank": 1},
    "linalg.singular_values": {"x": MATRIX},
    "linalg.accuracy_floor": {"method": "qr"},
    "linalg.check_rtol": {"rtol": 0.1},
    "linalg.choose_method": {"method": "qr", "rtol": 0.1},
    "linalg.default_rtol": {"sides": (3, 4)},
    "network.ContractionPlan": {"path": [(0, 1)]},
    "network.ContractionPlan.pull_back": {"cotangent": np.ones((2, 4))},
    "network.Network": {"tensors": {"A": "ir", "B": "jr"}},
    "network.Network.from_einsum": {"equation": "ij,jk->ik"},
    "network.Network.from_nodes": {"nodes": NETWORK.to_nodes(ARRAYS)},
    "network.Network.sizes_of_shapes": {"shapes": {"A": (2, 3), "B": (4, 3)}},
    "plots.circuit": {"x": CIRCUIT},
    "plots.entanglement": {"report": tnrank.entanglement_report(SAMPLES)},
    "plots.layer_ranks": {"x": tnrank.radar.layer_ranks(WEIGHTS)},
    "radar.RankRadar": {},
    "radar.RankRadar.load_state_dict": {"state": {}},
    "radar.RankRadar.record": {"step": 1, "weights": WEIGHTS},
    "radar.layer_ranks": {"weights": WEIGHTS, "initial": WEIGHTS},
    "radar.plain_name": {"name": "0.weight"},
    "radar.holds_a_model": {"path": "sample.safetensors"},
    "radar.read_weights": {"path": "sample.safetensors"},
    "plots.rank_scan": {"scan": rank_scan(CUBE, 1, starts=2, steps=50)},
    "experiments.run": {"recipe": make_recipe("depth-efficiency", **SMALL), "figure": False},
    "experiments.sweep": {"name": "depth-efficiency", "overrides": SMALL, "figure": False},
    "training.rates_of": {"trace": RATES},
    "ranks.ByNode": {},
    "ranks.correlation_tree": {"X": SAMPLES},
    "ranks.entanglement_report": {"X": SAMPLES},
    "ranks.rearrange": {"X": SAMPLES},
    "ranks.core_consistency": {"tensor": CP.to_dense()},
    "ranks.rank_scan": {"max_rank": 2, "starts": 2, "steps": 50},
    "ranks.tensor_rank": {"x": CUBE},
    "theory.minimum_nuclear_norm": {"shape": (3, 3), "indices": CELLS, "values": np.ones(4)},
    "theory.minimum_nuclear_norm_sensing": {"matrices": np.eye(9).reshape(9, 3, 3)[:4], "values": np.ones(4)},
    "theory.minimum_schatten": {"shape": (3, 3), "indices": CELLS, "values": np.ones(4), "p": 1.5},
    "theory.zero_fill": {"shape": (2, 3, 2)},
    "theory.local_components": {"x": CP, "index": "r"},
    "theory.conserved_quantities": {"x": CP, "index": "r"},
    "theory.unbalancedness": {"x": CP, "index": "r"},
    "theory.predicted_rate": {"x": CP, "index": "r", "gradient": np.ones((2, 3, 2))},
    "theory.singular_value_rate": {"x": MF, "gradient": np.ones((3, 3))},
    "theory.fit_exponent": {
        "norms": np.arange(1.0, 9),
        "rates": np.arange(1.0, 9) ** 2 * (1 + 0.01 * np.sin(np.arange(8))),
        "projections": np.ones(8),
    },
    "theory.escape_time": {"sigma0": 0.1, "sigma1": 0.5, "K": 3, "gamma": 1.0},
    "theory.integrated_law": {"sigma0": 0.1, "tau": 0.5, "gamma": 1.0, "K": 3},
    "theory.minimum_l2": {"A": MATRIX, "y": np.ones(2)},
    "theory.ridge_path": {"A": MATRIX, "y": np.ones(2), "penalties": np.array([0.1, 1.0])},
    "theory.near_low_rank_bound": {"x": HTF, "kept": 1},
    "theory.prune_components": {"x": HTF, "kept": 1},
    "theory.TwoByTwo": {},
    "training.Checkpoint": {"folder": "checkpoints"},
    "training.SavedRuns": {"folder": "checkpoints", "runs": [0, 2]},
    "training.RankOneMeasurements": {"vectors": [np.ones((4, 3)), np.ones((4, 3))]},
    "training.complete": {"steps": 3},
    "training.fit": {"features": INDICES, "targets": VALUES, "epochs": 2},
    "training.scores": {"features": INDICES},
    "training.recorders.SampleLoss": {"features": INDICES, "targets": VALUES},
    "training.gradient_flow": {"x": CP, "until": 0.1},
    "training.stability_limit": {},
    "training.recorders.Error": {"target": CP.to_dense()},
    "training.recorders.Function": {"name": "norm", "fn": lambda x: float(x.norm())},
    "training.recorders.HeldOutError": {},
    "CPFactorization.random": {},
    "TensorTrain.contract_modes": {"vectors": {0: np.ones(2)}},
    "TensorTrain.mode_products": {"matrices": {0: np.ones((4, 2))}},
    "TensorTrain.permute": {"order": (1, 0, 3, 2)},
    "TensorTrain.tensordot": {"axes": ((0,), (0,))},
}
"""By room and name, or by class and method for the methods of factorizations."""

OBJECTS: dict[str, Any] = {
    "circuits.Circuit": CIRCUIT,
    "dimension_tree.DimensionTree": TREE,
    "factorizations.CPFactorization": CP,
    "factorizations.FactorizationSum": SUM,
    "factorizations.HierarchicalFactorization": HTF,
    "factorizations.HierarchicalTucker": HT,
    "factorizations.MatrixFactorization": MF,
    "factorizations.NetworkFactorization": NF,
    "factorizations.TensorTrain": TT,
    "factorizations.TensorTrainOperator": OPERATOR,
    "factorizations.Tucker": TUCKER,
    "layers.Plans": layers.plans_of(LINEAR),
    "layers.WeightFormat": LINEAR,
    "network.ContractionPlan": NETWORK.plan(SIZES),
    "network.Network": NETWORK,
    "radar.RankRadar": tnrank.radar.RankRadar(leading=2),
}
"""Instances whose methods are called as well."""

POSITIONAL = {
    f"theory.{name}"
    for name in ("inner_indices", "local_components", "conserved_quantities", "unbalancedness", "predicted_rate")
}
"""Callables that take the factorization by position only."""

ENDLESS = {
    "steps",
    "max_rank",
    "power_iterations",
    "max_steps",
    "sweeps",
    "max_iterations",
    "budget",
    "starts",
    "test_points",
    "samples",
    "until",
}
"""Parameters of which a huge value is a long wait that was asked for."""


def _by_position(fn: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, **named: Any) -> Any:
        return fn(x, **named)

    return call


def targets() -> list[tuple[str, Callable[..., Any], dict[str, Any]]]:
    """``(name, callable, valid arguments)`` of everything public that checks what it is given."""
    found = {}
    for room in ROOMS:
        module = import_module(f"tnrank.{room}")
        for name in getattr(module, "__all__", None) or vars(module):
            value = getattr(module, name)
            ours = str(getattr(value, "__module__", "")).startswith(f"tnrank.{room.partition('.')[0]}")
            if name.startswith("_") or not callable(value) or not ours or value in found:
                continue
            found[value] = f"{room}.{name}"
    listed = []
    for value, name in found.items():
        if not _is_record(value):
            listed.append((name, value))
        if name in OBJECTS:
            listed += _methods(name, OBJECTS[name])
    given = [(name, value, _arguments(name, value)) for name, value in listed]
    return [(name, _by_position(value) if name in POSITIONAL else value, named) for name, value, named in given]


def attacked(value: Callable[..., Any], valid: dict[str, Any]) -> list[str]:
    """The parameters that can be given by name."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except ValueError:
        return list(valid)
    named = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY)]
    return list(dict.fromkeys([*valid, *named]))


def _methods(name: str, instance: Any) -> list[tuple[str, Callable[..., Any]]]:
    kind = type(instance)
    found = []
    for method in dir(kind):
        value = getattr(instance, method) if not method.startswith("_") and callable(getattr(kind, method)) else None
        if value is not None and inspect.signature(value).parameters:
            found.append((f"{name}.{method}", value))
    return found


def _is_record(value: Any) -> bool:
    """Whether it is a plain container of results, which holds what it is given and checks nothing."""
    if not inspect.isclass(value):
        return False
    if issubclass(value, (tuple, BaseException)) or value in (tnrank.Factorization, tnrank.factorizations.TreeFormat):
        return True
    return is_dataclass(value) and "__post_init__" not in vars(value) and not hasattr(value, "__post_init__")


def _arguments(name: str, value: Callable[..., Any]) -> dict[str, Any]:
    """The valid arguments: those listed, and those without default by the name of the parameter."""
    short = ".".join(name.split(".")[-2:])
    tree_format = short.replace("HierarchicalTucker.", "TensorTrain.").replace("Tucker.", "TensorTrain.")
    listed = CALLS.get(name, CALLS.get(short, CALLS.get(tree_format, {})))
    found = dict(listed)
    instance = getattr(value, "__self__", None)
    by_name = BY_NAME | (_of_instance(instance) if isinstance(instance, tnrank.Factorization) else {})
    try:
        parameters = inspect.signature(value).parameters
    except ValueError:
        return found
    for parameter in parameters.values():
        needed = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        )
        if needed and parameter.name not in found:
            found[parameter.name] = by_name.get(parameter.name)
    return found


def _of_instance(x: Any) -> dict[str, Any]:
    """Arguments that fit the factorization whose method is called."""
    found = {"indices": np.zeros((2, x.ndim), dtype=int), "other": x, "arrays": x.arrays, "terms": [x, x]}
    if hasattr(x, "tree"):
        leaf = next(node for node in x.tree.nodes if node.modes == (0,))
        found.update(tree=x.tree, node=leaf, at=leaf)
    return found
