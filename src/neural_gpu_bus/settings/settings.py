"""All settings of one plane, and what follows from several parts of them.

Read, later ones winning, from ``ngb.toml`` (in the working folder, or the file that ``NGB_CONFIG``
names), from environment variables ``NGB_<NAME>``, and from arguments. Addresses with passwords are
secrets: no repr shows them.
"""

from __future__ import annotations

from neural_gpu_bus.machine_memory import usable_memory_bytes
from neural_gpu_bus.settings.memory_settings import MemorySettings
from neural_gpu_bus.settings.postgres_settings import PostgresSettings
from neural_gpu_bus.settings.server_settings import ServerSettings
from neural_gpu_bus.settings.work_settings import WorkSettings


# The last part's settings come first, here and wherever they are printed.
class Settings(WorkSettings, PostgresSettings, ServerSettings, MemorySettings):
    """All settings of one plane. Sizes are in bytes, times in the unit their name ends in."""

    @property
    def query_limit_bytes(self) -> int:
        """The largest reply in force: more could hardly fit the shared memory."""
        return self.query_bytes_max or 2 * self.memory_limit_bytes

    @property
    def postgres_host_bytes(self) -> int | None:
        """Memory of PostgreSQL's machine; None where nobody said it of an existing server."""
        if self.postgres_memory_bytes is not None or self.postgres_dsn is not None:
            return self.postgres_memory_bytes
        return usable_memory_bytes()
