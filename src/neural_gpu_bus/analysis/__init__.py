"""Computing on tables and datasets: aggregates where they are cheapest, and series of bars."""

from neural_gpu_bus.analysis.face import Analysis

__all__ = ["Analysis"]
