"""Who computes: ``cpu`` (numba), ``gpu`` (array libraries), ``neural`` (ONNX Runtime); a planner.

Nothing here imports a heavy library until an engine is asked to run.
"""

from neural_gpu_bus.engines.capability import Capability
from neural_gpu_bus.engines.choice import check_engine
from neural_gpu_bus.engines.cpu import CpuEngine

__all__ = ["Capability", "CpuEngine", "check_engine"]
