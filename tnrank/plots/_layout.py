"""Where the vertices of a graph are drawn: trees in levels, chains in a line, everything else by distances."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

Vertex = Hashable
Graph = Mapping[Vertex, Sequence[Vertex]]
Places = dict[Any, tuple[float, float]]


def components(graph: Graph) -> list[list[Vertex]]:
    """Connected components, each in order of discovery."""
    found: list[list[Vertex]] = []
    seen: set[Vertex] = set()
    for start in graph:
        if start not in seen:
            order = list(distances(graph, start))
            seen.update(order)
            found.append(order)
    return found


def distances(graph: Graph, start: Vertex) -> dict[Vertex, int]:
    """Steps from ``start`` to each vertex that it reaches, nearest first."""
    found = {start: 0}
    queue = deque([start])
    while queue:
        vertex = queue.popleft()
        for other in graph[vertex]:
            if other not in found:
                found[other] = found[vertex] + 1
                queue.append(other)
    return found


def is_tree(graph: Graph, vertices: Sequence[Vertex]) -> bool:
    """Whether a component has no cycle; two edges between the same vertices are one."""
    return sum(len(set(graph[v])) for v in vertices) == 2 * (len(vertices) - 1)


def center(graph: Graph, vertices: Sequence[Vertex]) -> Vertex:
    """A vertex from which the farthest other one is as near as possible."""
    if len(vertices) > 400:
        far = list(distances(graph, vertices[0]))[-1]
        steps = distances(graph, far)
        end = list(steps)[-1]
        back = distances(graph, end)
        return min(vertices, key=lambda v: max(steps[v], back[v]))
    return min(vertices, key=lambda v: max(distances(graph, v).values()))


def chain(graph: Graph, vertices: Sequence[Vertex]) -> Places | None:
    """A path from left to right; ``None`` if it is not one."""
    if len(vertices) < 2 or any(len(set(graph[v])) > 2 for v in vertices) or not is_tree(graph, vertices):
        return None
    first = next(v for v in vertices if len(set(graph[v])) == 1)
    return {v: (float(step), 0.0) for v, step in distances(graph, first).items()}


def star(graph: Graph, vertices: Sequence[Vertex], gap: float) -> Places | None:
    """One vertex amid all others; ``None`` if it is not that."""
    middle = next((v for v in vertices if len(set(graph[v])) == len(vertices) - 1), None)
    if middle is None or len(vertices) < 4 or not is_tree(graph, vertices):
        return None
    others = [v for v in vertices if v != middle]
    radius = max(1.0, gap * len(others) / (2 * np.pi))
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(others)) / len(others)
    places: Places = {middle: (0.0, 0.0)}
    return places | {
        v: (float(radius * np.cos(a)), float(radius * np.sin(a))) for v, a in zip(others, angles, strict=True)
    }


def levels(graph: Graph, vertices: Sequence[Vertex], root: Vertex) -> Places:
    """A tree with its root on top, leaves next to each other, each parent above the middle of its children."""
    steps = distances(graph, root)
    children = {v: [c for c in dict.fromkeys(graph[v]) if steps[c] == steps[v] + 1] for v in steps}
    order: list[Vertex] = []
    stack = [root]
    while stack:
        vertex = stack.pop()
        if not children[vertex]:
            order.append(vertex)
        stack.extend(reversed(children[vertex]))
    places: Places = {v: (float(k), -float(steps[v])) for k, v in enumerate(order)}
    for vertex in sorted(steps, key=lambda v: -steps[v]):
        if children[vertex]:
            below = [places[c][0] for c in children[vertex]]
            places[vertex] = ((min(below) + max(below)) / 2, -float(steps[vertex]))
    return places


def springs(graph: Graph, vertices: Sequence[Vertex], rounds: int = 150) -> Places:
    """Distances on paper close to the steps between vertices: stress majorization from a deterministic start.

    Source: Gansner, Koren & North 2004, *Graph drawing by stress majorization*.
    """
    size = len(vertices)
    if size == 1:
        return {vertices[0]: (0.0, 0.0)}
    wanted = np.array([[distances(graph, v)[w] for w in vertices] for v in vertices], np.float64)
    weights = np.where(wanted > 0, 1.0 / np.maximum(wanted, 1.0) ** 2, 0.0)
    # Classical scaling; a small turn keeps symmetric graphs from starting on one line.
    mean = np.eye(size) - 1.0 / size
    values, vectors = np.linalg.eigh(-0.5 * mean @ wanted**2 @ mean)
    x = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0.05))
    x = x + 1e-3 * np.stack([np.cos(np.arange(size)), np.sin(np.arange(size))], axis=1)
    inverse = np.linalg.pinv(np.diag(weights.sum(1)) - weights)
    for _ in range(rounds):
        apart = np.maximum(np.linalg.norm(x[:, None] - x[None], axis=-1), 1e-9)
        ratio = np.where(wanted > 0, weights * wanted / apart, 0.0)
        x = inverse @ ((np.diag(ratio.sum(1)) - ratio) @ x)
    # The longer direction lies flat; the first vertex is on the left.
    x = x - x.mean(0)
    x = x @ np.linalg.svd(x, full_matrices=False)[2].T
    x = x * np.where(x[0] > 0, [-1.0, 1.0], [1.0, -1.0])
    return {v: (float(a), float(b)) for v, (a, b) in zip(vertices, x, strict=True)}
