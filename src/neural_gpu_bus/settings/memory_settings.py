"""Settings of the shared memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from neural_gpu_bus.errors import BadSettingError
from neural_gpu_bus.machine_memory import usable_memory_bytes
from neural_gpu_bus.settings.field_types import GIB, Percent
from neural_gpu_bus.settings.home_settings import HomeSettings


class MemorySettings(HomeSettings):
    """Where it lies, how large it may be, and what goes first."""

    memory_folder: Path | None = Field(
        default=None,
        description="Folder that exists, in which the shared memory makes one of its own; by "
        "default /dev/shm, or where there is none, the folder for temporary files.",
    )
    memory_bytes_max: int | None = Field(
        default=None,
        ge=1 << 20,
        description="Budget of the shared memory; by default the smallest of 16 GiB, a "
        "quarter of the machine's memory and what the memory file system can hold.",
    )
    memory_neural_percent: Percent = Field(
        default=25,
        description="Share of that budget for tensors as models take them.",
    )
    memory_gpu_percent: Percent = Field(
        default=50,
        description="Share of that budget for data of the gpu engine, and the limit of each "
        "process's copies on a card with memory of its own.",
    )
    memory_shared_percent: Percent = Field(
        default=25,
        description="Share of that budget for all other datasets and for growing columns.",
    )
    memory_policy: str = Field(
        default="gdsf",
        description="What is evicted first when a region is full: gdsf, lru, lfu or sieve.",
    )
    memory_group: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]+$",  # it becomes part of a path
        description="Group whose members share one memory, as readers and writers, whatever their "
        "homes; it stays until the host starts anew. By default memory is this user's alone.",
    )

    @field_validator("memory_folder", mode="before")
    @classmethod
    def _empty_is_unset(cls, given: Any) -> Any:
        """As in the environment; an empty path would be the working folder."""
        return None if given == "" else given

    @property
    def memory_limit_bytes(self) -> int:
        """The budget in force, before what the memory file system can hold is looked at."""
        return self.memory_bytes_max or min(16 * GIB, usable_memory_bytes() // 4)

    @property
    def memory_shares(self) -> dict[Literal["neural", "gpu", "shared"], float]:
        """Part of the budget that each region has; BadSettingError for more than the whole."""
        percent = (
            self.memory_neural_percent,
            self.memory_gpu_percent,
            self.memory_shared_percent,
        )
        if sum(percent) > 100:
            raise BadSettingError(
                f"the regions of the memory are to have {' + '.join(f'{p:g}' for p in percent)} "
                f"= {sum(percent):g} % of it",
                hint="set NGB_MEMORY_NEURAL_PERCENT, NGB_MEMORY_GPU_PERCENT and "
                "NGB_MEMORY_SHARED_PERCENT to 100 in sum at most",
                setting="memory_shared_percent",
            )
        neural, gpu, shared = (part / 100 for part in percent)
        return {"neural": neural, "gpu": gpu, "shared": shared}
