"""Contracts between the layers. A layer knows its neighbours by these alone; ``plane`` hands
it the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from neural_gpu_bus.descriptors import (
    BlockDescriptor,
    BusStatistics,
    EngineChoice,
    JobAnswer,
    JobDescriptor,
    MemoryStatistics,
    Region,
    StoreReceipt,
)

if TYPE_CHECKING:
    import msgspec
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Array = npt.NDArray[Any]

EngineName = Literal["cpu", "gpu", "neural"]

#: Names of jobs' results begin so, and no others: workers make and drop them.
RESULT_NAMES = "jobs/"
#: Names of tensors made of datasets begin so, and no others: they go with what they were made of.
TENSOR_NAMES = "tensors/"
#: Names of queries' results begin so, and no others: one version of each is kept.
QUERY_NAMES = "queries/"


class Columns(Protocol):
    """Named columns of one length, read-only, whose bytes lie in shared memory."""

    @property
    def descriptor(self) -> BlockDescriptor: ...

    @property
    def rows(self) -> int: ...

    def keys(self) -> Collection[str]: ...

    def __getitem__(self, name: str) -> Array:
        """numpy array of that column: no copy for fixed-width types, see ``Frame``."""

    def values(self, name: str) -> Array:
        """Raw values of a column: what lies under NULL is a filler."""

    def valid(self, name: str) -> npt.NDArray[np.bool_] | None:
        """True where not NULL; None where the column has no NULL."""

    def codes(self, name: str) -> tuple[npt.NDArray[np.int32], Sequence[str]]:
        """A text column as codes and their texts; a NULL is code -1."""

    def arrow(self) -> pa.Table: ...


class Reservation(Protocol):
    """Columns to be filled in place. Buffers have Arrow's layout; nothing is visible to others
    until ``seal``. Children of nested columns are named by their paths: ``prices.item``,
    ``point.x``, ``attributes.entries.key``.
    """

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def rows(self) -> int: ...

    def values(self, name: str) -> Array:
        """Writable values of a fixed-width column; bool: the bitmap's bytes, bit 0 first; of a
        dictionary column: its indices.
        """

    def validity(self, name: str) -> npt.NDArray[np.uint8] | None:
        """Writable bitmap (1 = not NULL, bit 0 first); None for a column without NULLs."""

    def offsets(self, name: str) -> Array:
        """Writable rows + 1 offsets of texts (in bytes), lists and maps (in values): int64 for the
        ``large_`` types, int32 for the others.
        """

    def data(self, name: str) -> npt.NDArray[np.uint8]:
        """Writable bytes of a text column."""

    def seal(self, name: str | None = None, *, reload_ns: int = 0, source_ns: int = 0) -> Columns:
        """Make it immutable; with a name also publish it as that dataset's newest version.

        ``reload_ns``: what making it again would cost, as measured; 0 where nobody measured.
        ``source_ns``: moment just before the snapshot of its source was taken; 0 for none.
        """

    def abandon(self) -> None:
        """Give the memory back; what was written is gone. Harmless after ``seal``."""


class Reserve(Protocol):
    """Signature of ``Memory.reserve``, for those that need nothing else of it."""

    def __call__(
        self,
        schema: pa.Schema,
        rows: int,
        *,
        text_bytes: Mapping[str, int] | None = None,
        null_counts: Mapping[str, int] | None = None,
        list_values: Mapping[str, int] | None = None,
        dictionaries: Mapping[str, pa.Array[Any]] | None = None,
    ) -> Reservation:
        """Reserve for real (a full memory is an error here, never a signal later).

        ``text_bytes``: bytes of each text column. ``null_counts``: NULLs of each column that has
        any; a column not named gets no bitmap. ``list_values``: values in all lists or maps of a
        column. ``dictionaries``: values of each dictionary column. All by path.
        """


class Memory(Protocol):
    """Layer 2: blocks and their names."""

    @property
    def reserve(self) -> Reserve: ...

    def put(self, name: str, columns: Mapping[str, Any] | pa.Table) -> Columns: ...

    def put_result(self, job_id: str, columns: pa.Table, *, reload_ns: int = 0) -> Columns:
        """Publish a job's result, named ``RESULT_NAMES`` and its id; ``reload_ns``: what it took
        to compute.
        """

    def drop_result(self, block: BlockDescriptor) -> None:
        """Forget a job's result while that very block is its newest; else nothing happens."""

    def blocks(self, prefix: str) -> Sequence[BlockDescriptor]:
        """Newest blocks of all names that begin so; nothing is attached."""

    def get(self, name: str, version: int | None = None) -> Columns: ...

    def attach(self, descriptor: BlockDescriptor) -> Columns: ...

    def drop(self, name: str) -> None: ...

    def names(self) -> Sequence[str]: ...

    def budget(self, region: Region) -> int:
        """Bytes that a region may hold."""

    def statistics(self) -> MemoryStatistics: ...

    def close(self) -> None: ...


class Database(Protocol):
    """Layer 3, PostgreSQL."""

    def query(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        timeout_s: float | None = None,
        name: str | None = None,
    ) -> Columns: ...

    def store(
        self,
        table: str,
        columns: Any,
        *,
        key: Sequence[str] | None = None,
        mode: Literal["append", "upsert", "replace"] = "append",
        job_id: str | None = None,
        create: bool = True,
        transactions: int = 1,
    ) -> StoreReceipt: ...

    def close(self) -> None: ...


class ColumnStore(Protocol):
    """Layer 3, Redis: whole frames under one key, as binary columns."""

    def write(self, key: str, columns: pa.Table) -> int:
        """Store and return the bytes sent."""

    def read(self, key: str) -> pa.Table: ...

    def close(self) -> None: ...


class Lease(Protocol):
    """One job in a worker's hands, until finished or until the worker is silent for too long."""

    @property
    def job(self) -> JobDescriptor: ...

    @property
    def deliveries(self) -> int: ...


class JobQueue(Protocol):
    """Layer 1, durable lane."""

    def submit(self, job: JobDescriptor) -> None: ...

    def take(self, timeout_s: float) -> Lease | None:
        """The next job, or one whose worker fell silent; None when none came in time."""

    @property
    def heartbeat_s(self) -> float:
        """How often a worker has to call ``extend``."""

    def extend(self, lease: Any) -> None:
        """Say that the worker still lives, and keep its lease, where it has one (else None)."""

    def finish(self, lease: Any, answer: JobAnswer) -> bool:
        """Publish the answer; False when another worker had answered (nothing changed)."""

    def wait_answer(self, job_id: str, timeout_s: float) -> JobAnswer: ...

    def statistics(self) -> BusStatistics: ...

    def close(self) -> None: ...


class ArrayBackend(Protocol):
    """One array library behind the ``gpu`` engine. Kernels use only the array API subset that all
    of them have.
    """

    #: ``numpy``, ``mlx``, ``torch`` or ``cupy``.
    name: str
    #: Device in the library's own words, e.g. ``cpu``, ``gpu``, ``cuda:0``.
    device: str
    #: True where the device reads the host's memory, so that a copy of it would be held twice.
    unified: bool
    #: True when the device is an accelerator, False on the library's CPU device.
    accelerated: bool
    #: Widest float of the device: ``float64``, or ``float32`` where it has no other.
    float_type: str
    #: Namespace with the functions the kernels call.
    xp: Any

    def from_numpy(self, array: Array) -> Any: ...

    def to_numpy(self, array: Any) -> Array: ...

    def sort(self, array: Any, axis: int) -> Any:
        """Ascending along an axis: libraries differ in what ``xp.sort`` takes and returns."""

    def active(self) -> AbstractContextManager[Any]:
        """The device's own context: kernels run inside it."""

    def wait_ready(self, *arrays: Any) -> None:
        """Wait until lazily computed arrays are there."""


class NeuralModel(Protocol):
    """How a workload runs as a network."""

    @property
    def model(self) -> str:
        """File in ``engines/models``."""

    @property
    def tensors(self) -> Callable[[Mapping[str, Array]], Iterator[dict[str, Array]]]:
        """Arrays to batches of named tensors."""

    @property
    def outputs(
        self,
    ) -> Callable[[Mapping[str, Array], Sequence[Mapping[str, Array]]], dict[str, Array]]:
        """Output tensors of all batches to what the other kernels return."""


class Kernels(Protocol):
    """One workload's implementations; None where an engine has none."""

    @property
    def cpu(self) -> Callable[[Mapping[str, Array], Any], dict[str, Array]]: ...

    @property
    def array(self) -> Callable[[ArrayBackend, Mapping[str, Array], Any], dict[str, Any]] | None:
        """The same maths over an ``ArrayBackend``."""

    @property
    def neural(self) -> NeuralModel | None: ...


class Workload(Protocol):
    """One registered workload: pure maths with a typed face."""

    @property
    def name(self) -> str:
        """``area.name``, e.g. ``risk.portfolio``."""

    @property
    def summary(self) -> str:
        """One sentence."""

    @property
    def params_type(self) -> type[msgspec.Struct]:
        """Struct of the parameters with defaults and limits."""

    @property
    def kernels(self) -> Kernels: ...

    @property
    def inputs(self) -> Mapping[str, Mapping[str, str]]:
        """Input -> column -> what it must be: ``float``, ``time``, ``text``, ``text, optional``."""

    @property
    def prepare(self) -> Callable[[Mapping[str, Columns], Any], dict[str, Array]]:
        """Columns to the plain arrays that every kernel takes; raises BadParameterError with the
        column's name.
        """

    @property
    def table(self) -> Callable[[Mapping[str, Array], Any], pa.Table]:
        """What a kernel returned, as the result's columns."""

    @property
    def cost(self) -> Callable[[Mapping[str, Array], Any], float]:
        """Rough number of floating-point operations, for the planner."""


class Engine(Protocol):
    """Who computes."""

    name: EngineName

    def available(self) -> tuple[bool, str]:
        """Whether it can run here, and the reason in words."""

    def supports(self, workload: Workload) -> bool: ...

    def backend(self) -> str:
        """Library and device, for the job's record."""

    def float_type(self) -> str:
        """``float64``, or ``float32`` where results have no more digits."""

    def run(
        self, workload: Workload, arrays: Mapping[str, Array], params: Any
    ) -> dict[str, Array]: ...


class Planner(Protocol):
    """Chooses the engine of a job."""

    def choose(
        self, workload: Workload, arrays: Mapping[str, Array], params: Any, asked: str | None
    ) -> tuple[Engine, EngineChoice]: ...


class Progress(Protocol):
    """Told how far a long action has come; the command line draws it."""

    def __call__(self, done: int, total: int | None) -> None: ...
