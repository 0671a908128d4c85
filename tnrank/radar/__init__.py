"""Ranks of the layers of a model: measured once, or while it trains."""

from __future__ import annotations

from tnrank.radar._files import holds_a_model as holds_a_model
from tnrank.radar._files import plain_name as plain_name
from tnrank.radar._files import read_weights as read_weights
from tnrank.radar._layer_ranks import layer_ranks as layer_ranks
from tnrank.radar._radar import RankRadar as RankRadar
from tnrank.radar._radar_report import RadarReport as RadarReport
from tnrank.radar._radar_report import RecordedLayer as RecordedLayer
from tnrank.radar._report import LayerRanks as LayerRanks
from tnrank.radar._report import WeightRanks as WeightRanks
from tnrank.radar._spectrum import MatrixSpectrum as MatrixSpectrum
from tnrank.radar._track import LayerHistory as LayerHistory
