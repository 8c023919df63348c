"""One live table that is asked for: its copy, and what each look finds that changed since."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psycopg

from neural_gpu_bus.live.applying.array_depths import ArrayDepths
from neural_gpu_bus.live.applying.needs_copy import NeedsCopyError
from neural_gpu_bus.live.applying.set_up import column_names
from neural_gpu_bus.live.asking import trigger_log
from neural_gpu_bus.live.asking.merged_table import MergedTable
from neural_gpu_bus.live.asking.watermark import Watermark
from neural_gpu_bus.live.mirror.group import ASKED_GROUP, ASKED_MARK
from neural_gpu_bus.stores.postgres.replication.table_shapes import quoted

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.live.asking.asked_database import AskedDatabase, Look
    from neural_gpu_bus.live.asking.trigger_log import LogNames
    from neural_gpu_bus.live.definitions import LiveDefinition
    from neural_gpu_bus.memory.growing import GrowingColumns
    from neural_gpu_bus.memory.series.writer import SeriesWriter
    from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
    from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape

#: What is told while a table is copied: why, rows that are there and that are expected.
Copying = Callable[[str, int, int], None]


class AskedTable:
    """For one thread. What a step changed counts once ``settle`` is called."""

    def __init__(self, definition: LiveDefinition, version: int) -> None:
        """``version``: number of the newest series that it has had."""
        self.definition = definition
        self.version = version
        self.applied: MergedTable | None = None
        #: What the version that is shown was made from: another token, another copy.
        self._token: object = None
        self._shape: TableShape | None = None
        self._log: LogNames | None = None
        self._watermark: Watermark | None = None
        self._depths = ArrayDepths()
        self._coming: tuple[Any, ...] | None = None
        self.next_s = self.recopy_at_s = 0.0
        self.failures = 0
        #: Whether readers have been told of the version.
        self.is_shown = False

    @property
    def series(self) -> str:
        """Of the version that is shown, or made."""
        return f"{self.definition.name}@{ASKED_MARK}{self.version}"

    @property
    def is_logged(self) -> bool:
        """Whether triggers tell of it."""
        return self.definition.how == "trigger"

    def log_name(self, home: str) -> str:
        """What names on the server begin with."""
        return self._log.name if self._log else trigger_log.log_prefix(home, self.definition.name)

    def prepare(self, connection: psycopg.Connection, database: AskedDatabase) -> None:
        """Before a look: its triggers, made where they lack, and its log, emptied where it is full.

        Raises ReplicationRefusedError, and LockNotAvailable of psycopg.
        """
        if not self.is_logged:
            return
        shape = database.shape(connection, self.definition)
        names = trigger_log.log_names(database.home, self.definition.name, shape)
        if names != self._log or not trigger_log.token(connection, names, shape):
            trigger_log.install(connection, database.home, names, shape)
            self._log, self._token = names, None
        elif trigger_log.is_full(connection, names):
            trigger_log.empty(connection, names)
            self._token = None

    def step(
        self,
        look: Look,
        database: AskedDatabase,
        make: tuple[GrowingColumns, SeriesWriter],
        copying: Copying,
        *,
        anew: bool,
    ) -> int:
        """Bring it to that look; how many rows changed. Raises what reading and writing raise."""
        shape = database.shape(look.connection, self.definition)
        token = (
            shape.fingerprint(self.definition.columns),
            shape.relfilenodes,
            self._seen(look, shape),
        )
        reason = "" if self.applied is None else "it is read whole again" if anew else ""
        if self.applied is not None and token != self._token:
            reason = "its definition or its triggers changed, or it was truncated"
        if self.applied is None or reason:
            return self._copy(look, database, shape, token, make, copying, reason)
        why = "very many rows changed"
        try:
            changed = (
                self._by_log(look, database)
                if self._watermark is None
                else self._by_mark(look, database)
            )
        except NeedsCopyError as error:
            changed, why = None, error.what
        if changed is None:
            return self._copy(look, database, shape, token, make, copying, why)
        return changed

    def settle(self) -> bool:
        """What the last step did is published; whether that was a new version."""
        coming, self._coming = self._coming, None
        if coming is None:
            return False
        kind, read, *rest = coming
        if kind == "copied":
            self.applied, self._shape, self._token, self._watermark = rest
        if self._watermark is not None:
            self._watermark.settle(read)
        return bool(kind == "copied")

    def lose(self) -> None:
        """The step failed: what it made is gone."""
        self._coming = None
        if self.applied is not None:
            self.applied.discarded()

    def consume(self, connection: psycopg.Connection, snapshot: str) -> None:
        """Forget the log's entries that are shown."""
        if self._log is not None:
            trigger_log.consume(connection, self._log, snapshot)

    # ---- inside

    def _seen(self, look: Look, shape: TableShape) -> object:
        if self._log is None:
            return ()
        return trigger_log.token(look.connection, self._log, shape)

    def _copy(  # noqa: PLR0917  one step
        self,
        look: Look,
        database: AskedDatabase,
        shape: TableShape,
        token: object,
        make: tuple[GrowingColumns, SeriesWriter],
        copying: Copying,
        reason: str,
    ) -> int:
        definition = self.definition
        MergedTable.check(shape, definition)
        mark = Watermark(definition, shape) if definition.how == "poll" else None
        copying(reason, 0, 0)
        columns = database.columns(definition, shape)
        self.version += 1
        rows = database.copy(
            definition,
            shape,
            look,
            lambda done, total: copying(reason, done, max(total or 0, done)),
        )
        applied = self._filled(make, shape, columns, rows)
        read = None
        if mark is not None:
            read = mark.read(look.connection, look.visible, frozenset())
        self._coming = ("copied", read, applied, shape, token, mark)
        return rows.num_rows

    def _filled(
        self,
        make: tuple[GrowingColumns, SeriesWriter],
        shape: TableShape,
        columns: list[SourceColumn],
        rows: pa.Table,
    ) -> MergedTable:
        """A series with these rows."""
        while True:
            applied = MergedTable.create(
                *(*make, ASKED_GROUP, self.series, shape, self.definition, columns, self._depths)
            )
            try:
                applied.copy_rows(rows)
                return applied
            except NeedsCopyError:  # its arrays have more dimensions: once for each column
                self.version += 1

    def _by_log(self, look: Look, database: AskedDatabase) -> int | None:
        assert self._log is not None and self._shape is not None  # noqa: S101, PT018  it is copied
        some = look.connection.execute(f"SELECT FROM {self._log.log} LIMIT 1".encode()).rowcount
        if not some:
            return 0
        keys = database.read(trigger_log.keys_sql(self._log, self._shape), look)
        return self._merge(look, database, trigger_log.changed(self._log, self._shape), keys)

    def _by_mark(self, look: Look, database: AskedDatabase) -> int | None:
        assert self._watermark is not None  # noqa: S101  asked before
        found = self._watermark.found(look.connection, look.visible)
        if found is None:
            return None
        places, seen = found
        changed = 0
        if places:
            listed = ",".join(f'"{place}"' for place in places)
            condition = (
                f"ctid = ANY('{{{listed}}}'::tid[]) AND {self._watermark.condition(look.visible)}"
            )
            changed = self._merge(look, database, condition, None)
        self._coming = (
            "changed",
            self._watermark.read(look.connection, look.visible, seen),
        )
        return changed

    def _merge(
        self, look: Look, database: AskedDatabase, condition: str, keys: pa.Table | None
    ) -> int:
        assert self.applied is not None and self._shape is not None  # noqa: S101, PT018
        names = ", ".join(map(quoted, column_names(self._shape, self.definition)))
        where = f" AND ({self.definition.where}\n)" if self.definition.where else ""
        rows = database.read(
            f"SELECT {names} FROM {self._shape.quoted} WHERE {condition}{where}",  # noqa: S608
            look,
        )
        if keys is None:
            keys = rows.select(list(self.applied.identity_names))
        changed = self.applied.merge(rows, keys)
        if self._coming is None:
            self._coming = ("changed", None)
        return changed
