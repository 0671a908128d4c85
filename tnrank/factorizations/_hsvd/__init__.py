"""Orthonormal frames, singular values and projections in the tree formats, level by level."""

from tnrank.factorizations._hsvd._frames import adjoint as adjoint
from tnrank.factorizations._hsvd._frames import along as along
from tnrank.factorizations._hsvd._frames import distinct_nodes as distinct_nodes
from tnrank.factorizations._hsvd._frames import dominant as dominant
from tnrank.factorizations._hsvd._frames import edges as edges
from tnrank.factorizations._hsvd._frames import kept_count as kept_count
from tnrank.factorizations._hsvd._frames import norm as norm
from tnrank.factorizations._hsvd._frames import orthogonalize as orthogonalize
from tnrank.factorizations._hsvd._frames import project as project
from tnrank.factorizations._hsvd._frames import relative_spectra as relative_spectra
from tnrank.factorizations._hsvd._frames import rows_at as rows_at
from tnrank.factorizations._hsvd._frames import spectra as spectra
from tnrank.factorizations._hsvd._frames import spectra_and_log_norm as spectra_and_log_norm
from tnrank.factorizations._hsvd._frames import square_roots as square_roots
