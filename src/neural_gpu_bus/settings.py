"""Every setting once: name with its unit, default, limit, and one sentence.

Read, later ones winning, from ``ngb.toml`` (in the working folder, or the file that ``NGB_CONFIG``
names), from environment variables ``NGB_<NAME>``, and from arguments. Addresses with passwords are
secrets: no repr shows them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadSettingError
from neural_gpu_bus.machine_memory import usable_memory_bytes

GIB = 1 << 30

#: Ports are in PostgreSQL's and Redis's usual neighbourhood; 6380 to 6382 come from the original
#: design.
LOWEST_PORT, HIGHEST_PORT = 1024, 65535
Port = Annotated[int, Field(ge=LOWEST_PORT, le=HIGHEST_PORT)]


def default_home() -> Path:
    """Per user and persistent. As root under /var/lib: PostgreSQL refuses root, and no other user
    can enter /root.
    """
    if os.geteuid() == 0 and sys.platform == "linux":
        return Path("/var/lib/neural-gpu-bus")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "neural-gpu-bus"
    return (
        Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        / "neural-gpu-bus"
    )


#: Cores are what reads need; one more for a snapshot that is held, one for a write beside it.
CONNECTIONS_BESIDE_CORES = 2
CONNECTIONS_DEFAULT_MAX = 32


def default_connections() -> int:
    """From the cores that this process may use: PostgreSQL's share of a read takes one each."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(cores + CONNECTIONS_BESIDE_CORES, CONNECTIONS_DEFAULT_MAX)


class Settings(BaseSettings):
    """All settings of one plane. Sizes are in bytes, times in the unit their name ends in."""

    model_config = SettingsConfigDict(
        env_prefix="NGB_", extra="forbid", frozen=True, env_ignore_empty=True
    )

    home: Path = Field(
        default_factory=default_home, description="Folder of the private servers and their data."
    )
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
    memory_neural_percent: float = Field(
        default=25,
        ge=0,
        le=100,
        description="Share of that budget for tensors as models take them.",
    )
    memory_gpu_percent: float = Field(
        default=50,
        ge=0,
        le=100,
        description="Share of that budget for data of the gpu engine, and the limit of each "
        "process's copies on a card with memory of its own.",
    )
    memory_shared_percent: float = Field(
        default=25,
        ge=0,
        le=100,
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

    postgres_dsn: SecretStr | None = Field(
        default=None,
        description="An existing PostgreSQL 14 to 18 as libpq address; by default a private one.",
    )
    compute_redis_url: SecretStr | None = Field(
        default=None,
        description="An existing Redis 6.2+ or Valkey for jobs; by default a private one.",
    )
    market_data_redis_url: SecretStr | None = Field(
        default=None,
        description="An existing Redis 6.2+ or Valkey for market data; by default a private one.",
    )
    engine_logic_redis_url: SecretStr | None = Field(
        default=None,
        description="An existing Redis 6.2+ or Valkey for engine logic; by default a private one.",
    )

    postgres_port: Port = Field(
        default=5439, description="Loopback port of the private PostgreSQL."
    )
    market_data_redis_port: Port = Field(
        default=6380, description="Loopback port of the private market data Redis."
    )
    engine_logic_redis_port: Port = Field(
        default=6381, description="Loopback port of the private engine logic Redis."
    )
    compute_redis_port: Port = Field(
        default=6382, description="Loopback port of the private compute Redis."
    )
    compute_redis_bytes_max: int | None = Field(
        default=None,
        ge=32 << 20,
        description="Memory limit of the private compute Redis, least recently used keys "
        "go first; by default the smaller of 8 GiB and an eighth of the machine's memory.",
    )

    connect_timeout_s: float = Field(
        default=5.0, gt=0, le=120, description="Longest wait for a server to answer."
    )
    hot_timeout_ms: float = Field(
        default=100.0,
        gt=0,
        le=86_400_000,
        description="Longest time of a query of the class hot: the newest rows by an index, which "
        "an engine waits for.",
    )
    query_timeout_s: float = Field(
        default=300.0, gt=0, le=86_400, description="Longest time one query may take."
    )
    load_timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        description="Longest time of a query of the class load, which reads whole tables; by "
        "default there is no limit.",
    )
    query_bytes_max: int | None = Field(
        default=None,
        ge=1 << 20,
        description="Largest reply of PostgreSQL to one query; by default twice the budget of the "
        "shared memory, because a value travels with up to as many bytes around it.",
    )
    postgres_connections_max: int = Field(
        default_factory=default_connections,
        ge=1,
        le=64,
        description="Connections to PostgreSQL that one plane keeps; by default the usable cores "
        "and two, 32 at most. More read no faster, and each may use its part of the memory.",
    )
    postgres_connection_idle_s: float = Field(
        default=600.0,
        gt=0,
        le=86_400,
        description="Connections that nobody used for that long are closed at the next look.",
    )
    postgres_connection_age_s: float = Field(
        default=3600.0,
        gt=0,
        le=604_800,
        description="Connections older than that are not lent again: a server process keeps what "
        "it ever cached.",
    )
    postgres_memory_bytes: int | None = Field(
        default=None,
        ge=64 << 20,
        description="Memory of the machine that PostgreSQL runs on, for work_mem and "
        "effective_cache_size; by default this machine's for the private server, and for an "
        "existing one not known: then its own settings stay.",
    )
    postgres_query_memory_percent: float = Field(
        default=12.5,
        gt=0,
        le=50,
        description="Share of that memory that all queries of one plane together may sort and "
        "hash in.",
    )
    postgres_work_mem_bytes: int | None = Field(
        default=None,
        ge=64 << 10,
        lt=2 << 40,
        description="work_mem of the class query; by default what that share gives each sort, and "
        "never above 256 MiB.",
    )
    postgres_effective_cache_bytes: int | None = Field(
        default=None,
        ge=8 << 10,
        lt=16 << 40,
        description="effective_cache_size of queries; by default three eighths of that memory.",
    )
    postgres_parallel_workers_max: int = Field(
        default=2,
        ge=0,
        le=64,
        description="Helpers that the server may give a query of the class query; none for hot "
        "and load.",
    )
    postgres_random_page_cost: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="random_page_cost of queries; by default 1.1 on the private server, and an "
        "existing one's own.",
    )
    postgres_cpu_tuple_cost: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="cpu_tuple_cost of queries; by default the server's own, as the next two.",
    )
    postgres_cpu_index_tuple_cost: float | None = Field(
        default=None, gt=0, le=1000, description="cpu_index_tuple_cost of queries."
    )
    postgres_cpu_operator_cost: float | None = Field(
        default=None, gt=0, le=1000, description="cpu_operator_cost of queries."
    )

    write_behind_bytes_max: int = Field(
        default=GIB,
        ge=1 << 20,
        description="Disk that rows of store_later may take in the home until PostgreSQL has them.",
    )
    write_behind_close_timeout_s: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="Longest last try to deliver such rows; what is left then stays on disk.",
    )

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
    wait_timeout_s: float = Field(
        default=60.0, gt=0, le=86_400, description="Default wait for a job's result."
    )

    @field_validator("memory_folder", mode="before")
    @classmethod
    def _empty_is_unset(cls, given: Any) -> Any:
        """As in the environment; an empty path would be the working folder."""
        return None if given == "" else given

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over environment over file."""
        file = Path(os.environ.get("NGB_CONFIG", "ngb.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)

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

    @property
    def compute_redis_limit_bytes(self) -> int:
        """8 GiB on the original design's 64 GiB machine is an eighth; smaller machines keep the
        proportion.
        """
        return self.compute_redis_bytes_max or min(8 * GIB, usable_memory_bytes() // 8)


def load_settings(**arguments: Any) -> Settings:
    """Settings from file, environment and arguments; BadSettingError names each bad one and what
    it may be.
    """
    _check_names()
    try:
        return Settings(**arguments)
    except ValidationError as error:
        problems = "; ".join(
            _problem(item) for item in error.errors(include_input=False, include_url=False)
        )
        raise BadSettingError(
            f"settings cannot be used: {problems}",
            hint="see `ngb config` for every setting, its default and its limits",
            setting=".".join(str(part) for part in error.errors()[0]["loc"]),
        ) from None
    except (OSError, ValueError) as error:
        file = os.environ.get("NGB_CONFIG", "ngb.toml")
        raise BadSettingError(
            f"cannot read settings from {file!r}: {error}", hint="mend the file", setting=""
        ) from None


def _check_names() -> None:
    """A mistyped variable or file must not end in private servers where others were meant."""
    named = os.environ.get("NGB_CONFIG")
    if named and not Path(named).is_file():
        raise BadSettingError(
            f"NGB_CONFIG names {named!r}, which is no file",
            hint="mend the path, or unset it to use ngb.toml of the working folder",
            setting="NGB_CONFIG",
        )
    known = {f"NGB_{name.upper()}" for name in Settings.model_fields} | {"NGB_CONFIG"}
    for name in os.environ:
        if name.startswith("NGB_") and not name.startswith("NGB_TEST_") and name not in known:
            raise BadSettingError(
                f"there is no setting {name}",
                hint=did_you_mean(name, known, "unset it; see `ngb config`"),
                setting=name,
            )


def _problem(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    return f"{name}: {item['msg'].lower()}"
