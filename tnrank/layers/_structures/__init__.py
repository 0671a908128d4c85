"""The structures of weights: one file each."""

from tnrank.layers._structures._btt import BTT
from tnrank.layers._structures._cp import CP
from tnrank.layers._structures._htf import HTF
from tnrank.layers._structures._mf import MF
from tnrank.layers._structures._structure import Host, Layout, Part, Structure
from tnrank.layers._structures._tt import TT
from tnrank.layers._structures._ttm import TTM
from tnrank.layers._structures._tucker import Tucker

STRUCTURES: dict[str, Structure] = {
    structure.name: structure for structure in (MF(), CP(), Tucker(), TT(), TTM(), HTF(), BTT())
}
"""Name -> structure."""

__all__ = ["STRUCTURES", "Host", "Layout", "Part", "Structure"]
