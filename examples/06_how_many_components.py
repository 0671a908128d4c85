"""How many components has a tensor? A noisy mixture, fitted with one component after another."""

from __future__ import annotations

import numpy as np

import tnrank

# Three positive components, as of spectra, concentrations and samples, and noise.
rng = np.random.default_rng(0)
truth = tnrank.CPFactorization([rng.random((d, 3)) for d in (6, 8, 7)])
clean = truth.to_dense()
noise = rng.standard_normal(clean.shape)
tensor = clean + 0.02 * np.linalg.norm(clean) / np.linalg.norm(noise) * noise

scan = tnrank.ranks.rank_scan(tensor, 5)
print(scan)

# The error stops falling at three components, and more of them are no longer consistent with each other.
errors = [entry.error for entry in scan.ranks]
consistency = [entry.core_consistency for entry in scan.ranks]
assert errors[1] > 5 * errors[2]
assert errors[4] > 0.8 * errors[2]
assert consistency[2] > 95 > 50 > consistency[4]

# Three components are also the fewest within the level of the noise ..
x = tnrank.CPFactorization.from_dense(tensor, rtol=0.021)
assert x.rank == 3
print(f"within 2.1 %: {x.rank} components, {x.parameter_count:,} numbers for {tensor.size:,} entries")

# .. and they are the ones that were mixed, up to order and scale.
found, mixed = ([f / np.linalg.norm(f, axis=0) for f in y.factors] for y in (x, truth))
cosines = np.prod([abs(a.T @ b) for a, b in zip(found, mixed, strict=True)], axis=0).max(axis=0)
print(f"cosines with the true components: {', '.join(f'{c:.4f}' for c in cosines)}")
assert cosines.min() > 0.99

# A tensor that is a limit of two components and no sum of two: the components grow and cancel.
w = np.array([[[0, 1], [1, 0]], [[1, 0], [0, 0]]])
print()
print(tnrank.ranks.rank_scan(w, 3))
print()
print(tnrank.tensor_rank(w))
