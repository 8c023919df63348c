"""Settings of engines and of jobs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from neural_gpu_bus.settings.field_types import UpToOneDay
from neural_gpu_bus.settings.home_settings import HomeSettings


class WorkSettings(HomeSettings):
    """What computes, and how jobs wait for it."""

    gpu_backend: Literal["numpy", "mlx", "torch", "cupy"] | None = Field(
        default=None,
        description="Array library of the gpu engine; by default the first with an accelerator.",
    )
    neural_provider: str | None = Field(
        default=None,
        description="ONNX Runtime's provider of the neural engine; by default the best found.",
    )
    workers: int = Field(
        default=1, ge=0, le=64, description="Workers that the private servers' keeper runs."
    )
    job_lease_s: float = Field(
        default=5.0,
        ge=0.2,
        le=3600,
        description="Silence after which another worker takes a job over.",
    )
    job_deliveries_max: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Workers that may lose one job before it counts as failed.",
    )
    job_answer_ttl_s: int = Field(
        default=3600, ge=1, le=604_800, description="How long answers are kept."
    )
    jobs_waiting_max: int = Field(
        default=10_000, ge=1, le=10_000_000, description="Jobs that may wait at once."
    )
    wait_timeout_s: UpToOneDay = Field(default=60.0, description="Default wait for a job's result.")
