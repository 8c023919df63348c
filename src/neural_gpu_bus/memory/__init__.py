"""Layer 2, unified memory: one copy of the data for every process of the host.

``UnifiedMemory`` reserves blocks, seals and names them; ``Frame`` is how they are read.
"""

from neural_gpu_bus.memory.catalog.names import check_given_name
from neural_gpu_bus.memory.frames.frame import Frame
from neural_gpu_bus.memory.unified_memory import UnifiedMemory
from neural_gpu_bus.memory.writing.reservation import BlockReservation

__all__ = ["BlockReservation", "Frame", "UnifiedMemory", "check_given_name"]
