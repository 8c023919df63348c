"""Workloads that run whenever the live tables that feed them change.

``cadence`` says when (pure), ``inputs`` what with, ``outlets`` where the result goes, ``watch``
does it in whatever thread asks.
"""

from neural_gpu_bus.watching.inputs import LiveInput
from neural_gpu_bus.watching.records import WatchRun, WatchStatistics
from neural_gpu_bus.watching.watch import Watch

__all__ = ["LiveInput", "Watch", "WatchRun", "WatchStatistics"]
