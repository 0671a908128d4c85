"""Training by loops over observed entries, in NumPy alone: what the library's training is compared with.

Nothing of the library is used. A model evaluates its entries at given indices, one row an entry, and its gradient is
written out by hand. The hierarchical factorization is that of the published code: ``levels[0]`` has one matrix a mode,
``levels[l]`` one a group of ``pool`` neighbors of the level below, a last group may be short; then the root's column.
"""

from __future__ import annotations

import itertools

import numpy as np


class Matrix:
    """The product of layers."""

    def __init__(self, layers):
        self.weights = [np.array(a) for a in layers]

    @property
    def shape(self):
        return (self.weights[0].shape[0], self.weights[-1].shape[1])

    def forward(self, at):
        """Entry (i, j): row i goes through the layers."""
        rows = [self.weights[0][at[:, 0]]]
        for layer in self.weights[1:-1]:
            rows.append(rows[-1] @ layer)
        if len(self.weights) == 1:
            return rows[0][np.arange(len(at)), at[:, 1]], rows
        return (rows[-1] * self.weights[-1][:, at[:, 1]].T).sum(axis=1), rows

    def backward(self, at, rows, slope):
        gradients = [np.zeros_like(a) for a in self.weights]
        if len(self.weights) == 1:
            np.add.at(gradients[0], (at[:, 0], at[:, 1]), slope)
            return gradients
        np.add.at(gradients[-1].T, at[:, 1], slope[:, None] * rows[-1])
        back = slope[:, None] * self.weights[-1][:, at[:, 1]].T
        for k in range(len(self.weights) - 2, 0, -1):
            gradients[k] = rows[k - 1].T @ back
            back = back @ self.weights[k].T
        np.add.at(gradients[0], at[:, 0], back)
        return gradients

    def norms(self):
        """Singular values, and nothing else is compared of a matrix factorization's components."""
        return {"end": np.linalg.svd(end_tensor(self), compute_uv=False)}


class CP:
    """The sum of outer products of columns."""

    def __init__(self, factors):
        self.weights = [np.array(a) for a in factors]

    @property
    def shape(self):
        return tuple(len(a) for a in self.weights)

    def forward(self, at):
        rows = [a[at[:, n]] for n, a in enumerate(self.weights)]
        return np.prod(rows, axis=0).sum(axis=1), rows

    def backward(self, at, rows, slope):
        gradients = []
        for n, a in enumerate(self.weights):
            others = [row for m, row in enumerate(rows) if m != n]
            gradient = np.zeros_like(a)
            np.add.at(gradient, at[:, n], slope[:, None] * np.prod(others, axis=0))
            gradients.append(gradient)
        return gradients

    def norms(self):
        found = np.ones(self.weights[0].shape[1])
        for a in self.weights:
            found = found * np.sqrt((a**2).sum(axis=0))
        return {"end": np.sort(found)[::-1]}


class Hierarchy:
    """Matrices level by level; products over groups of neighbors between the levels."""

    def __init__(self, levels, root, pool):
        self.counts, self.pool = [len(level) for level in levels], pool
        self.weights = [np.array(a) for level in levels for a in level] + [np.array(root)]

    @property
    def shape(self):
        return tuple(len(a) for a in self.weights[: self.counts[0]])

    def level(self, number):
        first = sum(self.counts[:number])
        return range(first, first + self.counts[number])

    def groups(self, number):
        """The positions of the weights that the groups above a level multiply."""
        whole = list(self.level(number))
        return [whole[k : k + self.pool] for k in range(0, len(whole), self.pool)]

    def forward(self, at):
        given, made = {}, {}
        for n in self.level(0):
            given[n] = np.eye(len(self.weights[n]))[at[:, n]]
        for number in range(len(self.counts)):
            for k in self.level(number):
                made[k] = given[k] @ self.weights[k]
            above = self.level(number + 1) if number + 1 < len(self.counts) else [len(self.weights) - 1]
            for k, group in zip(above, self.groups(number), strict=True):
                given[k] = np.prod([made[g] for g in group], axis=0)
        return (given[len(self.weights) - 1] @ self.weights[-1])[:, 0], (given, made)

    def backward(self, at, kept, slope):
        given, made = kept
        gradients = [np.zeros_like(a) for a in self.weights]
        last = len(self.weights) - 1
        gradients[last] = given[last].T @ slope[:, None]
        back = {last: slope[:, None] @ self.weights[last].T}
        for number in range(len(self.counts) - 1, -1, -1):
            above = self.level(number + 1) if number + 1 < len(self.counts) else [last]
            for k, group in zip(above, self.groups(number), strict=True):
                for g in group:
                    others = [made[other] for other in group if other != g]
                    pulled = back[k] * np.prod(others, axis=0) if others else back[k]
                    gradients[g] = given[g].T @ pulled
                    back[g] = pulled @ self.weights[g].T
        return gradients

    def norms(self):
        """Norms of local components, keyed by (level, position) of their node; the root is the last level."""
        found = {}
        for number in range(len(self.counts)):
            above = self.level(number + 1) if number + 1 < len(self.counts) else [len(self.weights) - 1]
            for position, (k, group) in enumerate(zip(above, self.groups(number), strict=True)):
                sizes = np.sqrt((self.weights[k] ** 2).sum(axis=1))
                for g in group:
                    sizes = sizes * np.sqrt((self.weights[g] ** 2).sum(axis=0))
                found[number + 1, position] = np.sort(sizes)[::-1]
        return found

    def modes(self):
        """(level, position) -> the modes below a node, for every node with children."""
        found, below = {}, [(n,) for n in range(self.counts[0])]
        for number in range(1, len(self.counts) + 1):
            below = [sum(below[k : k + self.pool], ()) for k in range(0, len(below), self.pool)]
            found |= {(number, position): modes for position, modes in enumerate(below)}
        return found


def end_tensor(model):
    every = np.array(list(itertools.product(*map(range, model.shape))))
    return model.forward(every)[0].reshape(model.shape)


def squared(residual):
    return (residual**2).mean(), 2 * residual / len(residual)


def half_sum(residual):
    return (residual**2).sum() / 2, residual


def smooth_l1(beta):
    """As PyTorch writes it: quadratic below ``beta``, slope one from there on; the mean."""

    def loss(residual):
        value, slope = np.empty_like(residual), np.empty_like(residual)
        for k, r in enumerate(residual):
            small = abs(r) < beta
            value[k] = r * r / (2 * beta) if small else abs(r) - beta / 2
            slope[k] = r / beta if small else np.sign(r)
        return value.mean(), slope / len(residual)

    return loss


def group_rmsprop(rate=1e-2, decay=0.99, eps=1e-6):
    """One rate for all weights, from the mean squared norm of the whole gradient."""
    mean, count = 0.0, 0

    def adjusted(gradients):
        nonlocal mean, count
        count += 1
        mean = decay * mean + (1 - decay) * sum((g**2).sum() for g in gradients)
        return rate / (np.sqrt(mean / (1 - decay**count)) + eps)

    return adjusted


def constant(rate):
    return lambda gradients: rate


def train(model, at, y, loss, rate, steps, every, target):
    """Losses before each update and at the end, the rates used, and at every ``every`` steps: error, norms, tensors."""
    losses, rates, rows = [], [], []
    for step in range(steps + 1):
        values, kept = model.forward(at)
        level, slope = loss(values - y)
        losses.append(level)
        if step % every == 0:
            end = end_tensor(model)
            rows.append((np.linalg.norm(end - target) / np.linalg.norm(target), model.norms(), end))
        if step == steps:
            break
        gradients = model.backward(at, kept, slope)
        rates.append(rate(gradients))
        for weights, gradient in zip(model.weights, gradients, strict=True):
            weights -= rates[-1] * gradient
    return np.array(losses), np.array(rates), rows


def balanced_matrix(end, depth):
    """Layers of the given product with equal singular values: U S^(1/L), S^(1/L), .., S^(1/L) V^T."""
    u, s, v = np.linalg.svd(end, full_matrices=False)
    root = np.diag(s ** (1 / depth))
    layers = [root.copy() for _ in range(depth)]
    layers[0] = u @ layers[0]
    layers[-1] = layers[-1] @ v
    return layers


def balanced_cp(factors):
    """The columns of each component, scaled to equal norms."""
    norms = [np.sqrt((a**2).sum(axis=0)) for a in factors]
    mean = np.prod(norms, axis=0) ** (1 / len(factors))
    return [a * mean / norm for a, norm in zip(factors, norms, strict=True)]


def balanced_hierarchy(levels, root, pool, sweeps=3000):
    """Sweeps that give the vectors of each local component the geometric mean of their norms."""
    model = Hierarchy(levels, root, pool)
    last = len(model.weights) - 1
    for _ in range(sweeps):
        for number in range(len(model.counts)):
            above = model.level(number + 1) if number + 1 < len(model.counts) else [last]
            for k, group in zip(above, model.groups(number), strict=True):
                norms = [np.sqrt((model.weights[g] ** 2).sum(axis=0)) for g in group]
                norms.append(np.sqrt((model.weights[k] ** 2).sum(axis=1)))
                mean = np.prod(norms, axis=0) ** (1 / len(norms))
                for g, norm in zip(group, norms, strict=False):
                    model.weights[g] *= mean / norm
                model.weights[k] *= (mean / norms[-1])[:, None]
    return model
