"""One root, branches by whose fault it was, and one leaf for each thing a caller may want to catch.

A message is one sentence that says what happened with the values, and a hint that says what to
do. The facts behind it are attributes, so that code never parses a message. Every error survives
pickling, and ``error_records`` takes it from a worker to whoever waits.
"""

from __future__ import annotations

from typing import Any


class NeuralGpuBusError(Exception):
    """Root of every error this package raises on purpose.

    ``what`` is the sentence, ``hint`` the way out, ``facts`` the values as a mapping; each fact
    is an attribute too.
    """

    #: Exit status of ``ngb`` when this error ends a command.
    exit_code = 1

    def __init__(self, what: str, *, hint: str = "", **facts: Any) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.facts = facts

    def __getattr__(self, name: str) -> Any:
        facts = self.__dict__.get("facts", {})
        if name in facts:
            return facts[name]
        raise AttributeError(
            f"{type(self).__name__} has no attribute {name!r}; it knows {sorted(facts)}"
        )

    def __str__(self) -> str:
        return f"{self.what}\nhint: {self.hint}" if self.hint else self.what

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.what, self.hint, self.facts)


def _rebuild(
    kind: type[NeuralGpuBusError], what: str, hint: str, facts: dict[str, Any]
) -> NeuralGpuBusError:
    return kind(what, hint=hint, **facts)


# --- the caller's fault -------------------------------------------------------------------------


class UsageError(NeuralGpuBusError):
    """The call, the setting or the input has to change; trying again as it is will fail again."""

    exit_code = 2


class BadSettingError(UsageError, ValueError):
    """A setting has a value that cannot be used. Facts: where known ``setting``."""


class BadParameterError(UsageError, ValueError):
    """An argument or a workload parameter does not fit. Facts: ``parameter``."""


class UnknownWorkloadError(UsageError, LookupError):
    """No workload of that name is registered. Facts: ``workload``, ``known``."""


class BadFileError(UsageError, ValueError):
    """A file cannot be loaded. Facts: ``file``, and where known ``row`` (1 = first data row) and
    ``column``.
    """


class UnsupportedTypeError(UsageError, TypeError):
    """A column has a type that cannot be held exactly. Facts: ``column``, ``type``."""


class BadValueError(UsageError, ValueError):
    """A value cannot be held exactly in its column. Facts: ``column``, ``row`` (1 = first)."""


class QueryError(UsageError):
    """The server refused the statement: missing table or column, bad SQL. Facts: ``sqlstate``."""


class RowsRefusedError(UsageError):
    """Rows that were acknowledged were refused by the server and are set aside. Facts: ``id``,
    ``table``, ``reason``, ``kind`` (class of the error).
    """


class DatasetNotFoundError(UsageError, KeyError):
    """No dataset of that name is in memory. Facts: ``name``."""

    __str__ = NeuralGpuBusError.__str__


class ColumnNotFoundError(UsageError, KeyError):
    """A frame has no column of that name. Facts: ``column``."""

    __str__ = NeuralGpuBusError.__str__


class DatasetEvictedError(UsageError, KeyError):
    """The dataset was there and is gone, or another stands in its place. Facts: ``name``,
    ``version``.
    """

    __str__ = NeuralGpuBusError.__str__


class AlreadyRunningError(UsageError):
    """The private servers of this home already run. Facts: ``home``, ``pid``."""


class SeriesBusyError(UsageError):
    """Another process writes this group of series, or faster than a reader can copy its directory.
    Facts: ``group``, ``pid`` of the writer, 0 where it does not matter.
    """


class ReplicationRefusedError(UsageError):
    """The server or a table cannot feed live tables as it is set up; the hint has the SQL to run.
    Facts: ``missing``, pairs of what is missing and the statement.
    """


class ClosedError(UsageError):
    """What was asked has been closed."""


class NotRunningError(UsageError):
    """The private servers of this home do not run. Facts: ``home``."""


# --- a server's fault ---------------------------------------------------------------------------


class ServerError(NeuralGpuBusError):
    """PostgreSQL or Redis could not do its part."""

    exit_code = 3


class ServerUnreachableError(ServerError, ConnectionError):
    """Nothing answers at that address, or the connection broke. Facts: ``server``, ``address``."""


class ServerAuthenticationError(ServerError, PermissionError):
    """The server refused the user or the password. Facts: ``server``, ``address``."""


class ServerVersionError(ServerError):
    """The server is too old. Facts: ``server``, ``version``, ``version_min``."""


class ServerFullError(ServerError, OSError):
    """The server has no room left: its disk or its memory limit. Facts: ``server``."""


class ProtocolError(ServerError, ValueError):
    """Bytes from a server or a file break their own format. Facts: ``position`` in bytes."""


class QueryTimeoutError(ServerError, TimeoutError):
    """A query took longer than its limit and was cancelled. Facts: ``timeout_s``."""


class ReplicationError(ServerError):
    """PostgreSQL does not stream the changes of its tables: the slot is lost or another reads it, a
    publication is missing, a setting or a right. Facts: ``sqlstate``, ``slot``.
    """


class StaleError(ServerError):
    """A live table is not as fresh as was asked for. Facts: ``table``, ``why``.

    As it was asked for, also its lag and the longest one, or the position and the time waited.
    """


class DeliveryTimeoutError(ServerError, TimeoutError):
    """Rows that are on the local disk did not reach PostgreSQL in time; they stay there and are
    still delivered. Facts: ``timeout_s``.
    """


# --- the host's fault ---------------------------------------------------------------------------


class HostError(NeuralGpuBusError):
    """This machine lacks something: memory, disk, a port, a program, a library."""

    exit_code = 4


class SharedMemoryFullError(HostError, MemoryError):
    """No room for a block. Facts: ``needed_bytes``, ``free_bytes``, ``folder``."""


class DiskFullError(HostError, OSError):
    """No room on a disk. Facts: ``folder``."""


class JournalFullError(HostError):
    """More rows wait on disk for PostgreSQL than the limit allows; these were not taken. Facts:
    ``waiting_bytes``, ``bytes_max``.
    """


class ServerStartError(HostError):
    """A private server did not start. Facts: ``server``, ``log``."""


class MissingDependencyError(HostError, ImportError):
    """An optional library is not installed. Facts: ``library``, ``extra``."""


class EngineUnavailableError(HostError):
    """The engine asked for cannot run here. Facts: ``engine``."""


# --- jobs ---------------------------------------------------------------------------------------


class JobError(NeuralGpuBusError):
    """A job did not give its result."""

    exit_code = 5


class JobTimeoutError(JobError, TimeoutError):
    """No answer within the time given; the job may still finish. Facts: ``job_id``, ``timeout_s``,
    ``state``.
    """


class JobFailedError(JobError):
    """The job ran and failed, or failed too often. Facts: ``job_id``, where known
    ``deliveries``.
    """


class JobLostError(JobError):
    """The compute Redis knows nothing of the job any more. Facts: ``job_id``."""


class ResultDroppedError(JobError):
    """The job is done, and its result is no longer in shared memory. Facts: ``job_id``."""


class JobQueueFullError(JobError):
    """More jobs wait than the limit allows. Facts: ``waiting``, ``waiting_max``."""


class MapFailedError(JobError):
    """Work on one of many datasets failed, or its result does not fit the others'. Facts:
    ``dataset``, where known ``failed`` (names of all that failed).
    """


# --- measuring ----------------------------------------------------------------------------------


class ResultsDifferError(NeuralGpuBusError):
    """Two ways to one result disagree, so no time is worth telling. Facts: ``workload``, ``way``,
    ``place``, ``row`` (1 = first), ``column``.
    """

    exit_code = 6
