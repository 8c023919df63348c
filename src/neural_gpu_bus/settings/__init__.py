"""Every setting once, with its unit, default, limit, and one sentence: in parts, which ``Settings``
has together.
"""

from neural_gpu_bus.settings.field_types import GIB, HIGHEST_PORT
from neural_gpu_bus.settings.loading import load_settings
from neural_gpu_bus.settings.settings import Settings

__all__ = ["GIB", "HIGHEST_PORT", "Settings", "load_settings"]
