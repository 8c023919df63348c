"""Layer 2, unified memory: one copy of the data for every process of the host.

``UnifiedMemory`` reserves blocks, seals and names them; ``Frame`` is how they are read.
"""

from neural_gpu_bus.memory.frame import Frame
from neural_gpu_bus.memory.names import check_given_name
from neural_gpu_bus.memory.reservation import BlockReservation
from neural_gpu_bus.memory.unified_memory import UnifiedMemory

__all__ = ["BlockReservation", "Frame", "UnifiedMemory", "check_given_name"]
