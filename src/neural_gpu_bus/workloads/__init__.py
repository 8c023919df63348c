"""Pure maths: arrays in, arrays out. No I/O, no engine, and no compiler until a kernel is called.

A workload checks its columns (``prepare``), computes (one of ``kernels``), and names its results
(``table``). Kernels compiled by numba lie beside their workload in ``*_compiled.py``.
"""

from neural_gpu_bus.workloads.parameters import check_params, describe_params
from neural_gpu_bus.workloads.registry import WORKLOADS, find, load_kernels
from neural_gpu_bus.workloads.time_bars import build_time_bars

__all__ = [
    "WORKLOADS",
    "build_time_bars",
    "check_params",
    "describe_params",
    "find",
    "load_kernels",
]
