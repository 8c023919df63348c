"""Storing: the part of ``DataPlane`` that writes to PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import structlog

from neural_gpu_bus.errors import ServerError

if TYPE_CHECKING:
    from neural_gpu_bus.descriptors import StoreReceipt
    from neural_gpu_bus.ports import Progress
    from neural_gpu_bus.stores.postgres import (
        Acknowledgement,
        LoadReport,
        Mode,
        PostgresStore,
        WriteBehind,
        WriteBehindMode,
    )
    from neural_gpu_bus.traditional import EventBus

#: Topic on the market-data bus that says that a table has new rows.
TABLES_TOPIC = "tables"

_log = structlog.get_logger(__name__)


class Plane(Protocol):
    """What a plane has besides."""

    @property
    def database(self) -> PostgresStore: ...  # noqa: D102

    @property
    def write_behind(self) -> WriteBehind: ...  # noqa: D102

    @property
    def market_data(self) -> EventBus: ...  # noqa: D102


class Storing:
    """Columns and files as PostgreSQL's tables."""

    def store(
        self: Plane,
        table: str,
        columns: Any,
        *,
        key: Sequence[str] | None = None,
        mode: Mode = "append",
        job_id: str | None = None,
        create: bool = True,
        transactions: int = 1,
    ) -> StoreReceipt:
        """Write columns to a PostgreSQL table, all rows or none; makes the table when missing,
        with types that follow from the columns' own (``create=False`` refuses to).

        ``columns``: a Frame, a mapping, any Arrow, Polars or pandas table; or a
        ``pyarrow.RecordBatchReader`` or an iterator of record batches, of which one at a time is
        held. ``mode``: ``append``, ``upsert`` by ``key`` (else the primary key), or ``replace`` all
        rows. A ``job_id`` that was stored to this table before makes the call a no-op, and lets a
        store be tried again where the connection breaks.

        ``transactions``: append that many ranges of the rows at once, each in a connection and a
        transaction of its own. That is not atomic: a range is seen as soon as it is committed, and
        an error names the rows that are stored and those that are not (``stored_ranges``,
        ``missing_ranges``); with a ``job_id`` the same call again stores the missing ones.

        Raises BadParameterError, BadValueError naming column and row, UnsupportedTypeError,
        QueryError, and ServerError's kinds; ServerUnreachableError says where the connection broke
        in the commit, so that the rows may have been stored.
        """
        return self.database.store(
            table,
            columns,
            key=key,
            mode=mode,
            job_id=job_id,
            create=create,
            transactions=transactions,
        )

    def store_later(
        self: Plane,
        table: str,
        columns: Any,
        *,
        key: Sequence[str] | None = None,
        mode: WriteBehindMode = "append",
        job_id: str | None = None,
    ) -> Acknowledgement:
        """Return once the rows are on the local disk; a thread stores them soon after, once and
        in order within a table, through restarts of this process and of PostgreSQL.

        Arguments as ``store``, without ``replace``. ``plane.write_behind`` waits for them
        (``wait_stored``, ``flush``) and tells how it stands. Rows that the server refuses are set
        aside there and hold up no others. Raises BadParameterError and UnsupportedTypeError for
        what no table takes, JournalFullError, DiskFullError, HostError; then nothing was taken.
        """
        return self.write_behind.store_later(table, columns, key=key, mode=mode, job_id=job_id)

    def load(
        self: Plane,
        files: Sequence[str | os.PathLike[str]],
        table: str,
        *,
        key: Sequence[str] | None = None,
        text: Sequence[str] = (),
        again: bool = False,
        progress: Progress | None = None,
    ) -> list[LoadReport]:
        """Bring Parquet, Arrow or CSV files into a table, each in one transaction.

        The same bytes again add nothing; with a key they bring back rows that were deleted or
        changed since. ``key``: columns that tell rows apart; known market data has its own.
        ``text``: columns of a CSV that are text whatever they look like. ``again``: append also
        what was loaded before, where the table has no key. ``progress`` is told rows done and,
        where known, all rows. The market-data bus hears of each file. Raises BadFileError naming
        file, row and column.
        """
        reports = self.database.load(
            files, table, key=key, text=text, again=again, progress=progress
        )
        for report in reports:
            if report.rows:
                _announce_rows(self.market_data, report)
        return reports


def _announce_rows(market_data: EventBus, report: LoadReport) -> None:
    try:
        market_data.publish(TABLES_TOPIC, "TableLoaded", msgspec.structs.asdict(report))
    except ServerError as error:  # the rows are there: that is the answer
        _log.warning("new rows were not announced", table=report.table, error=error.what)
