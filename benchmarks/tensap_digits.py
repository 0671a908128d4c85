"""Digits in four patches: error and processor seconds of ``fit``, with a width chosen by validation, beside tensap's.

The task is that of tensap's tutorial on digits: 8 x 8 images in four patches of 4 x 4, so that the tensor has order 4,
and at each mode the features 1, cos(pi z / 2) and sin(pi z / 2) of the 16 gray levels z of a patch; nine tenths of the
1797 images to train on. Of these, one tenth is held out here, to choose with, and the test images choose nothing.
"""

from __future__ import annotations

import contextlib
import io
import time
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

import tnrank
from benchmarks._harness import Report

Host = np.ndarray[Any, Any]

SEEDS = (0, 1, 2)
"""Of the splits."""
PIXELS, CLASSES = 16, 10
"""Of a patch; digits."""
SIZE = 2 * PIXELS + 1
"""Features of a patch."""
WIDTHS, RATES, STD, EPOCHS = (10, 30, 100), (3e-3, 1e-2), 0.3, 40
"""What is tried of hierarchical factorizations: widths and learning rates, at one spread of the initial weights."""
FIXED_RANK, SWEEPS = 5, 10
"""Of tensap without rank adaptation; alternating minimizations, in both."""
ENRICHMENTS = 8
"""Of tensap with rank adaptation, each of which raises the ranks of some nodes by one. The tutorial has 14, with
cross-entropy, for which tensap needs TensorFlow before 2.16."""


@dataclass(frozen=True)
class Digits:
    """One split of the images.

    Attributes:
        patches: gray levels in [0, 1], ``(1797, 64)``, patch after patch.
        labels: ``(1797,)``.
        train: places of the images to train on.
        held: places of those to choose with.
        test: places of the others.
    """

    patches: Host
    labels: Host
    train: Host
    held: Host
    test: Host

    @classmethod
    def split(cls, seed: int) -> Digits:
        """Draw it."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        patches = bunch.images.reshape(-1, 2, 4, 2, 4).transpose(0, 1, 3, 2, 4).reshape(-1, 64) / 16
        count = len(patches)
        known = round(0.9 * count)
        places = np.random.default_rng(seed).permutation(count)
        held = round(0.1 * known)
        return cls(patches, bunch.target, places[held:known], places[:held], places[known:])

    @property
    def features(self) -> Host:
        """``(1797, 4, 33)``."""
        angles = np.pi / 2 * self.patches.reshape(-1, 4, PIXELS)
        return np.concatenate([np.ones_like(angles[..., :1]), np.cos(angles), np.sin(angles)], axis=-1)

    def error(self, scores: Any, places: Host) -> float:
        """The share of images whose highest score is another digit's."""
        return float(np.mean(np.argmax(np.asarray(scores), axis=1) != self.labels[places]))


def start(width: int, seed: int) -> tnrank.HierarchicalFactorization:
    """Initial weights near those that give one constant score a class: each interior matrix near the identity."""
    random, tree = np.random.default_rng(seed), tnrank.DimensionTree.balanced(4)
    constant = np.eye(SIZE)[:, :1]  # the coefficients of the feature 1
    matrices = {}
    for node in tree.nodes:
        if node == tree.root:
            matrices[node] = random.standard_normal((width, CLASSES)) / width
        elif node.height:
            matrices[node] = np.eye(width) + STD * random.standard_normal((width, width)) / np.sqrt(width)
        else:
            matrices[node] = constant + STD * random.standard_normal((SIZE, width))
    return tnrank.HierarchicalFactorization(tree, matrices)


def ours(digits: Digits, seed: int) -> tuple[float, float]:
    """Test error of the width and rate with the least error on held-out images, and seconds of the whole search."""
    began = time.process_time()
    features = digits.features
    best, scores = (np.inf, np.inf), None
    for width, rate in product(WIDTHS, RATES):
        found = tnrank.fit(
            start(width, seed).to("torch", dtype="float32"),
            features[digits.train],
            digits.labels[digits.train],
            loss=tnrank.CrossEntropyLoss(),
            optimizer=tnrank.Adam(rate, relative=True),
            epochs=EPOCHS,
            batch=100,
            seed=seed,
        )
        error = digits.error(found.scores(features[digits.held]), digits.held)
        if (error, found.loss) < best:
            best, scores = (error, found.loss), found.scores(features[digits.test])
    return digits.error(scores, digits.test), time.process_time() - began


def theirs(tensap: Any, digits: Digits, seed: int, adapt: bool) -> tuple[float, float]:
    """Test error and seconds of tensap's least squares on one-hot labels, its iterate chosen on held-out images."""
    np.random.seed(seed)
    began = time.process_time()
    one_hot = np.eye(CLASSES)[digits.labels]
    functions = [lambda x: np.ones((len(x), 1))]
    for function, pixel in product((np.cos, np.sin), range(PIXELS)):
        functions.append(lambda x, function=function, pixel=pixel: function(np.pi / 2 * x[:, pixel]))
    gray = tensap.DiscreteRandomVariable(np.unique(digits.patches))
    bases = [tensap.UserDefinedFunctionalBasis(functions, gray, PIXELS) for _ in range(4)]
    tree = tensap.DimensionTree.balanced(4)
    loss = tensap.SquareLossFunction()
    loss.test_error = lambda function, sample: digits.error(function(sample[0]), digits.held)  # chosen by it, like ours
    solver = tensap.TreeBasedTensorLearning(tree, np.full(tree.nb_nodes, True), loss)
    solver.bases = tensap.FunctionalBases(bases)
    solver.initialization_type = "random"
    solver.training_data = [digits.patches[digits.train], one_hot[digits.train]]
    solver.test_data = [digits.patches[digits.held], one_hot[digits.held]]
    solver.test_error = solver.model_selection = True
    solver.display = False
    solver.alternating_minimization_parameters["max_iterations"] = SWEEPS
    solver.rank_adaptation = adapt
    if adapt:
        solver.rank_adaptation_options["max_iterations"] = ENRICHMENTS + 1
    else:
        solver.rank = FIXED_RANK
    with contextlib.redirect_stdout(io.StringIO()):
        function, _ = solver.solve()
    error = digits.error(function(digits.patches[digits.test]), digits.test)
    return error, time.process_time() - began


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def run(report: Report) -> None:
    """Means over three splits; rank adaptation takes minutes, and is measured on the first."""
    try:
        import tensap
    except ImportError as error:
        print(f"     digits in four patches: tensap is left out ({error}): pip install tensap")
        return
    if "torch" not in tnrank.available_backends():
        return
    splits = [Digits.split(seed) for seed in SEEDS]
    name = "digits in four patches"
    found = np.array([ours(digits, seed) for seed, digits in zip(SEEDS, splits, strict=True)])  # error and seconds
    fixed = np.array([theirs(tensap, digits, seed, adapt=False) for seed, digits in zip(SEEDS, splits, strict=True)])
    adapted = np.array([theirs(tensap, splits[0], SEEDS[0], adapt=True)])
    for peers, what in ((fixed, f"ranks {FIXED_RANK}"), (adapted, f"{ENRICHMENTS} enrichments")):
        (error, seconds), (their_error, their_seconds) = found[: len(peers)].mean(axis=0), peers.mean(axis=0)
        report.compare(name, f"test error, {what}", error, their_error, at_most=1, show=percent)
        report.compare(name, f"CPU seconds, {what}", seconds, their_seconds, at_most=1)
