"""Series: tables that grow, split by key into columns that lie in one piece, published in steps."""

from neural_gpu_bus.memory.series.budget import Budget
from neural_gpu_bus.memory.series.group import SeriesGroup, series_bytes
from neural_gpu_bus.memory.series.series import Series, SeriesSnapshot

__all__ = ["Budget", "Series", "SeriesGroup", "SeriesSnapshot", "series_bytes"]
