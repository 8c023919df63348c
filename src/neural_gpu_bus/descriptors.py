"""What travels between processes: small, frozen, typed records. Never the data, never code.

All are msgspec structs: they go over Redis and sockets as msgpack and are checked field by field
when they arrive.
Times are nanoseconds since 1970-01-01 UTC unless the name ends in another unit.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import msgspec

#: What a fact of an error may be between processes.
PlainFact = str | bool | int | float | list[str] | None

#: Parts of the shared memory, each with a budget of its own.
Region = Literal["neural", "gpu", "shared"]
#: All of them; shared tables know each by its place here.
REGIONS: Final[tuple[Region, ...]] = get_args(Region)


class ColumnDescriptor(msgspec.Struct, frozen=True):
    """One column of a block."""

    #: Column name as in the query or the mapping it came from.
    name: str
    #: Arrow type in Arrow's own spelling: ``double``, ``timestamp[us, tz=UTC]``, ``string`` ...
    type: str
    #: Rows that are NULL.
    nulls: int = 0


class BlockDescriptor(msgspec.Struct, frozen=True):
    """One sealed block in shared memory: enough to attach the same bytes in another process of
    this host.
    """

    #: Dataset name; empty for a block that was never given one.
    name: str
    #: 1 for the first dataset of that name, then counting up; 0 for a block without a name.
    version: int
    #: File of the block, relative to the memory folder.
    path: str
    #: Random hex of this very block, also in its schema metadata: a reused name is never
    #: taken for the old block.
    uuid: str
    #: Rows in every column.
    rows: int
    #: Size of the file.
    nbytes: int
    columns: tuple[ColumnDescriptor, ...]
    #: When it was sealed.
    created_ns: int
    #: Boot identity of the host whose memory holds it; on another host attaching is refused
    #: by name.
    host: str
    #: Where the columns' buffers lie in the file, packed by ``memory.layout.arrow_layout``:
    #: attaching needs no look into the file's metadata. Base64, because Redis's own msgpack, by
    #: which scripts look into answers, knows no bytes.
    spans: str = ""
    #: Where the block's uuid stands in the file; attaching looks there.
    uuid_at: int = 0
    region: Region = "shared"
    #: What making it again would cost, as measured when it was made; 0 where nobody measured.
    reload_ns: int = 0
    #: Moment just before the snapshot of its source was taken; 0 where it was made here.
    source_ns: int = 0
    #: Its place in the memory's table of uses; -1 for a block without a name.
    record: int = -1


class EvictedDataset(msgspec.Struct, frozen=True):
    """What is remembered of a dataset that had to make room."""

    version: int
    nbytes: int
    evicted_ns: int
    #: Policy that chose it.
    policy: str


class StoreTarget(msgspec.Struct, frozen=True):
    """Where a job's result goes besides shared memory."""

    #: PostgreSQL table, created when missing; None for none.
    table: str | None = None
    #: Key on the compute Redis, written as an Arrow stream; None for none.
    redis_key: str | None = None


class JobDescriptor(msgspec.Struct, frozen=True):
    """One job: a registered workload, its parameters, and where its columns are."""

    #: Identity; what it stores is stored once.
    id: str
    #: Name in the workload registry, e.g. ``risk.portfolio``.
    workload: str
    #: Parameters as plain values; checked against the workload's parameter type at submit and
    #: in the worker.
    params: dict[str, Any]
    #: Input name of the workload to the block that holds it.
    inputs: dict[str, BlockDescriptor]
    #: Engine asked for: ``cpu``, ``gpu``, ``neural``; None lets the planner choose.
    engine: str | None = None
    store: StoreTarget = StoreTarget()
    submitted_ns: int = 0
    #: Sum of all the others but the times, with the inputs' values for their blocks, where the id
    #: was chosen by a person: the same id with another sum is refused.
    fingerprint: str = ""


class EngineChoice(msgspec.Struct, frozen=True):
    """What ran the job and why."""

    #: ``cpu``, ``gpu`` or ``neural``.
    engine: str
    #: Library and device below it, e.g. ``numba``, ``numpy``, ``mlx:cpu``,
    #: ``onnxruntime:CPUExecutionProvider``.
    backend: str
    #: One sentence a person can read.
    reason: str


class JobRecord(msgspec.Struct, frozen=True):
    """How a job went."""

    choice: EngineChoice
    #: Host name and pid of the worker.
    worker: str
    #: 1 for a job that no worker lost.
    deliveries: int
    #: Submit to taken.
    queued_us: float
    attach_us: float
    compute_us: float
    publish_us: float
    #: Storing to PostgreSQL and then to Redis; 0 where nothing was to be stored.
    store_us: float
    #: Rows this job stored in PostgreSQL: 0 where none were to be, or another delivery had
    #: stored them.
    stored_rows: int = 0
    #: True where an earlier job or delivery of this id had stored to that table.
    stored_before: bool = False
    #: WAL position after the commit that stored them, in PostgreSQL's own spelling; empty for none.
    stored_lsn: str = ""


class ErrorRecord(msgspec.Struct, frozen=True):
    """An error on its way to another process, see ``error_records``."""

    #: Class name, one of ``errors``.
    kind: str
    what: str
    hint: str = ""
    facts: dict[str, PlainFact] = {}


class JobAnswer(msgspec.Struct, frozen=True):
    """What a worker sends back: a block and a record, or a failure."""

    job_id: str
    status: Literal["done", "failed"]
    block: BlockDescriptor | None = None
    record: JobRecord | None = None
    failure: ErrorRecord | None = None
    #: As of the job, see there; the queue sets it.
    fingerprint: str = ""


class StoreReceipt(msgspec.Struct, frozen=True):
    """What a bulk write did."""

    #: Rows written by this call; 0 when the job id was stored before.
    rows: int
    #: WAL position after the commit, in PostgreSQL's own spelling, e.g. ``0/1A2B3C8``; empty where
    #: the server does not tell.
    lsn: str
    #: True when an earlier store of the same job id made this one a no-op.
    repeated: bool = False


class RegionStatistics(msgspec.Struct, frozen=True):
    """One region at one moment; counts are since the folder was made, of all processes."""

    name: Region
    bytes_max: int
    #: Of named and unnamed blocks and spare pages, in ``shared`` also of growing columns. What is
    #: unlinked and still mapped has no region any more: only the total of all of them has it.
    bytes_used: int
    #: Names with a block there.
    datasets: int
    #: Finds of a dataset in memory, and looks for one that was not there. Nobody knows where that
    #: would have been: all of those count in ``shared``.
    hits: int = 0
    misses: int = 0
    evictions: int = 0
    evicted_bytes: int = 0
    #: Time that hits saved: for each, what making the dataset again would have cost.
    saved_ns: int = 0


class ProcessStatistics(msgspec.Struct, frozen=True):
    """One process that has the memory open, at one moment."""

    pid: int
    #: Program and arguments, shortened.
    command: str
    started_ns: int
    #: As the system has it: ``running``, ``sleeping``, ``stopped`` ...
    state: str
    hits: int
    misses: int
    #: Blocks and series files it has mapped.
    mapped_blocks: int
    mapped_bytes: int
    #: Of those, what was dropped, replaced or evicted and lives on in this process alone.
    gone_bytes: int
    #: Since when it has held the oldest of those; 0 for none.
    gone_since_ns: int
    #: Blocks of its own without a name.
    unnamed_bytes: int


class DatasetFacts(msgspec.Struct, frozen=True):
    """A dataset as ``find`` and ``ngb memory`` show it."""

    name: str
    version: int
    region: Region
    rows: int
    nbytes: int
    columns: tuple[ColumnDescriptor, ...]
    created_ns: int
    #: Last time that somebody got it; never later than true, by at most a few hundred finds.
    used_ns: int
    hits: int
    reload_ns: int
    pinned: bool
    #: Processes that have it mapped.
    pids: tuple[int, ...] = ()


class SeriesFacts(msgspec.Struct, frozen=True):
    """A group of series as ``series_facts`` and ``ngb memory`` show it."""

    group: str
    #: Names of its series, in order.
    series: tuple[str, ...]
    #: Of all its series; those without rows count in.
    partitions: int
    #: Of all its files.
    nbytes: int
    #: Published last, and when; generation 0 is the making of the group.
    generation: int
    published_ns: int
    #: Process that writes it; 0 for none.
    writer_pid: int = 0


class MemoryStatistics(msgspec.Struct, frozen=True):
    """The unified memory at one moment."""

    folder: str
    bytes_max: int
    #: Of all regions, and of what is unlinked and still mapped.
    bytes_used: int
    #: Free bytes of the file system below the folder.
    bytes_free_host: int
    datasets: int
    blocks: int
    #: Bytes of growing columns, within ``shared``.
    series_bytes: int = 0
    #: Name of the eviction policy.
    policy: str = ""
    regions: tuple[RegionStatistics, ...] = ()
    #: Uses of blocks by jobs, by engine.
    engine_uses: dict[str, int] = {}
    processes: tuple[ProcessStatistics, ...] = ()


class AsOf(msgspec.Struct, frozen=True):
    """How fresh columns are: the moment of the source that they show."""

    #: When they were published in this memory.
    published_ns: int
    #: Moment just before the snapshot of their source was taken, by this host's clock: what was
    #: committed before is in them; None where they were made here, or the source is followed.
    source_ns: int | None = None
    #: Commit time of the newest change they hold; None where the source told none.
    committed_ns: int | None = None
    #: WAL position they show, in PostgreSQL's own spelling; empty where there is none.
    lsn: str = ""
    #: Steps of publication of their series; 0 for a dataset, whose steps are its versions.
    generation: int = 0


class PoolStatistics(msgspec.Struct, frozen=True):
    """One process's connections to PostgreSQL at one moment; counts are since its plane opened."""

    connections_max: int
    #: In use, and kept open for the next.
    lent: int
    idle: int
    #: Threads that wait for one now.
    waiting: int = 0
    #: Waits that are over, however they ended.
    waits: int = 0
    wait_total_s: float = 0.0
    wait_longest_s: float = 0.0
    opened: int = 0
    #: Because the server or the network had ended them, or a statement on them failed or was
    #: left unfinished.
    closed_broken: int = 0
    #: Because nobody used them for long.
    closed_idle: int = 0
    #: Because they were open for long.
    closed_old: int = 0
    #: Reads that were begun again, on a new connection.
    retried: int = 0
    #: Statements that were cancelled, by a limit or by a person.
    cancelled: int = 0


class BusStatistics(msgspec.Struct, frozen=True):
    """The compute bus at one moment."""

    #: Jobs not yet taken by a worker.
    waiting: int
    #: Jobs taken and not yet answered.
    running: int
    #: Jobs given up after too many deliveries.
    dead: int
    #: Workers with a live heartbeat.
    workers: tuple[str, ...] = ()
