"""One piece of work on every dataset that matches, side by side, and its results as one frame."""

from neural_gpu_bus.matching.many_datasets import ManyDatasets
from neural_gpu_bus.matching.work import map_datasets

__all__ = ["ManyDatasets", "map_datasets"]
