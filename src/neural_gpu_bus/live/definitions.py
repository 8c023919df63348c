"""Which tables are live: what a person declared, kept in the home."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from msgspec.structs import replace

from neural_gpu_bus.arguments import check_encodable, check_text
from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.embedded.home import own_folder, write_private
from neural_gpu_bus.errors import BadParameterError, DatasetNotFoundError, HostError
from neural_gpu_bus.live.definition_checks import (
    bad,
    check_asking,
    check_choice,
    check_slot,
    column_names,
)
from neural_gpu_bus.live.shared.words import TABLES_MAX
from neural_gpu_bus.memory.catalog.names import check_given_name
from neural_gpu_bus.memory.files.file_lock import locked_until
from neural_gpu_bus.stores.postgres.tables.table_name import parse_table_name

#: How commits are heard of. ``stream``: logical replication. ``trigger`` and ``poll`` promise less.
How = Literal["stream", "trigger", "poll"]
#: Whether PostgreSQL keeps what was not read while nobody follows it.
Slot = Literal["temporary", "persistent"]
#: A row filter is part of a statement: longer ones are no filter.
WHERE_CHARACTERS_MAX = 10_000
#: What is taken where nothing is said, and what may be said.
POLL_S, RECOPY_S, OVERLAP_S = 1.0, 3600.0, 5.0
FOLDER, FILE, LOCK = "live", "definitions.json", "lock"
#: Version of the file.
FORMAT = 1
_LOCK_WAIT_S_MAX = 10.0
#: Arguments of ``last`` and the others that stand beside the columns of the key.
_TAKEN = ("max_lag_s",)


class LiveDefinition(msgspec.Struct, frozen=True):
    """One live table. Make it with ``live_definition``, which checks it."""

    #: In PostgreSQL: ``bars`` or ``market.bars``.
    table: str
    #: How it is asked for here.
    name: str
    #: Columns that split it into partitions; none: one partition.
    key: tuple[str, ...] = ()
    #: Column that orders the rows of a partition; None: as they came.
    order_by: str | None = None
    #: None: all.
    columns: tuple[str, ...] | None = None
    #: Row filter of the publication, as SQL.
    where: str | None = None
    #: Only inserts are followed: for tables without a replica identity.
    append_only: bool = False
    how: How = "stream"
    slot: Slot = "temporary"
    #: ``poll``: the column that each change raises.
    watermark: str | None = None
    #: Seconds between two looks without a stream, and between two of the whole table (``poll``).
    poll_s: float = POLL_S
    recopy_s: float = RECOPY_S
    #: How late a watermark may come, besides what running transactions explain.
    overlap_s: float = OVERLAP_S
    #: No rows are kept: it is only told that there were changes, for ``freshness="live"``.
    changes_only: bool = False
    #: When it was added: tells it from one of its name that was dropped before.
    added_ns: int = 0
    #: How many asked for it and did not give up before it was live.
    wanted_by: int = 1

    def follows_as(self, other: LiveDefinition) -> bool:
        """Whether both say the same, whenever they were added, by whoever and by whichever slot:
        all tables of a home have one slot, a persistent one as soon as any asks for it.
        """
        alike = replace(self, added_ns=0, slot=other.slot, wanted_by=other.wanted_by)
        return alike == replace(other, added_ns=0)

    def is_same(self, other: LiveDefinition) -> bool:
        """Whether it is one that was added once, maybe with another slot since."""
        return self.added_ns == other.added_ns and self.follows_as(other)


class _File(msgspec.Struct, frozen=True):
    format: int
    tables: tuple[LiveDefinition, ...] = ()


def live_definition(
    table: str,
    *,
    name: str | None = None,
    key: Sequence[str] = (),
    order_by: str | None = None,
    columns: Sequence[str] | None = None,
    where: str | None = None,
    append_only: bool = False,
    how: How = "stream",
    slot: Slot = "temporary",
    watermark: str | None = None,
    poll_s: float = POLL_S,
    recopy_s: float = RECOPY_S,
    overlap_s: float = OVERLAP_S,
) -> LiveDefinition:
    """A definition whose parts can be one. Raises BadParameterError; PostgreSQL is not asked."""
    check_text("table", table, "'market.bars'")
    parse_table_name(table)
    check_given_name(table if name is None else name)
    taken = column_names("columns", columns) if columns is not None else None
    keys = column_names("key", key)
    for column in keys:
        if column in _TAKEN:
            raise bad("key", f"column {column!r} cannot be one of the key", "leave it out")
    if order_by is not None:
        check_text("order_by", order_by, "'ts'")
        if order_by in keys:
            raise bad(
                "order_by",
                f"{order_by!r} is a column of the key, so it is equal in all rows of a partition",
                "order by another, or leave it out of the key",
            )
    if taken is not None:
        missing = [one for one in (*keys, *([order_by] if order_by else [])) if one not in taken]
        if missing:
            raise bad("columns", f"{missing} are not among columns {list(taken)}", "add them")
    if where is not None:
        check_text("where", where, "\"exchange = 'XNAS'\"")
        check_encodable("where", where)
        if len(where) > WHERE_CHARACTERS_MAX or "\0" in where:
            raise bad("where", f"a filter of {len(where):,} characters", "write a shorter one")
    check_choice("how", how, get_args(How))
    check_slot(slot, get_args(Slot), how)
    check_asking(how, watermark, append_only, (poll_s, recopy_s, overlap_s))
    return LiveDefinition(
        table=table,
        name=table if name is None else name,
        key=keys,
        order_by=order_by,
        columns=taken,
        where=where,
        append_only=bool(append_only),
        how=how,
        slot=slot,
        watermark=watermark,
        poll_s=float(poll_s),
        recopy_s=float(recopy_s),
        overlap_s=float(overlap_s),
    )


class LiveDefinitions:
    """The definitions of one home; any process may add and drop."""

    def __init__(self, home: Path) -> None:
        """``home``: its folder, which must be there."""
        self._folder = home / FOLDER
        self._file = self._folder / FILE

    def all(self) -> dict[str, LiveDefinition]:
        """By name, in the order in which they were added. Raises HostError for a broken file."""
        try:
            raw = self._file.read_bytes()
        except FileNotFoundError:
            return {}
        return {found.name: found for found in self._read(raw).tables}

    def token(self) -> tuple[int, int, int]:
        """Another one after every change; a stat of the file, which is replaced whole."""
        try:
            found = os.stat(self._file)  # noqa: PTH116  (asked all the time)
        except FileNotFoundError:
            return 0, 0, 0
        return found.st_ino, found.st_mtime_ns, found.st_size

    def add(
        self, definition: LiveDefinition, *, waits: bool = False
    ) -> tuple[LiveDefinition, bool]:
        """The one that is kept, and whether it is new. ``waits``: who asks waits for it, and may
        ``give_up``; so another who does that leaves it to this one.

        Raises BadParameterError where another one has the name.
        """
        with self._locked():
            found = self.all()
            before = found.get(definition.name)
            if before is not None and before.follows_as(definition):
                persistent = "persistent" in {definition.slot, before.slot}
                now = replace(
                    before,
                    slot="persistent" if persistent else "temporary",
                    wanted_by=before.wanted_by + waits,
                )
                if now != before:
                    self._write([*(found | {now.name: now}).values()])
                return now, False
            if before is not None:
                raise _other(before, definition)
            if len(found) >= TABLES_MAX:
                raise bad("name", f"{len(found)} tables are live", "drop some: `ngb live drop`")
            added = replace(definition, added_ns=time.time_ns())
            self._write([*found.values(), added])
        return added, True

    def drop(self, name: str) -> LiveDefinition:
        """Take one away; what it was. Raises DatasetNotFoundError."""
        with self._locked():
            found = self.all()
            gone = found.pop(name, None)
            if gone is None:
                raise not_live(name, list(found))
            self._write(list(found.values()))
        return gone

    def give_up(self, definition: LiveDefinition) -> bool:
        """Who asked for it does not wait any longer; whether that takes it away, because nobody
        else asked.
        """
        with self._locked():
            found = self.all()
            now = found.get(definition.name)
            if now is None or now.added_ns != definition.added_ns:
                return False
            if now.wanted_by > 1:
                found[now.name] = replace(now, wanted_by=now.wanted_by - 1)
            else:
                del found[now.name]
            self._write(list(found.values()))
        return now.wanted_by <= 1

    @property
    def may_have_left(self) -> bool:
        """Whether something of this home may be on a server: tables are live, or were."""
        return self._file.exists()

    def forget(self) -> bool:
        """Nothing of this home is on a server any more: no process need look. False where a table
        was declared meanwhile.
        """
        with self._locked():
            if self.all():
                return False
            self._file.unlink(missing_ok=True)
        return True

    def has(self, definition: LiveDefinition) -> bool:
        """Whether that very one is still declared."""
        now = self.all().get(definition.name)
        return now is not None and now.added_ns == definition.added_ns

    def _read(self, raw: bytes) -> _File:
        try:
            found = msgspec.json.decode(raw, type=_File)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            told = _format(raw)
            why = str(error) if told in {None, FORMAT} else _other_format(told)
            raise self._unreadable(why) from None
        if found.format != FORMAT:
            raise self._unreadable(_other_format(found.format))
        return found

    def _unreadable(self, why: str) -> HostError:
        return HostError(
            f"{str(self._file)!r} does not say which tables are live: {why}",
            hint="use the version that wrote it, or remove the file and add the tables again: "
            "`ngb live add`",
            file=str(self._file),
        )

    def _write(self, tables: Sequence[LiveDefinition]) -> None:
        raw = msgspec.json.format(msgspec.json.encode(_File(FORMAT, tuple(tables))), indent=1)
        try:
            write_private(self._file, raw + b"\n")
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)  # the name, too, is there after a power cut
            finally:
                os.close(folder)
        except OSError as error:
            raise HostError(
                f"{str(self._file)!r} cannot be written: {error.strerror}",
                hint="nothing was changed; make room there, or set NGB_HOME to another folder",
                file=str(self._file),
            ) from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        own_folder(self._folder, 0o700)
        path = self._folder / LOCK
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if not locked_until(file, time.monotonic() + _LOCK_WAIT_S_MAX):
                raise HostError(
                    f"another process has had {str(path)!r} locked for {_LOCK_WAIT_S_MAX:g} s",
                    hint="it was stopped while it changed what is live: `fuser -v` names it",
                    file=str(path),
                )
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # a child made meanwhile has the file open as well
            os.close(file)


def not_live(name: str, known: Sequence[str]) -> DatasetNotFoundError:
    """The error for a name that is none of a live table."""
    return DatasetNotFoundError(
        f"there is no live table {name!r}",
        hint=did_you_mean(
            name, known, "make it live: plane.live(table, key=...) or `ngb live add`"
        ),
        name=name,
    )


def changes_definition(schema: str, table: str) -> LiveDefinition:
    """Of a table that only its changes are wanted of. Raises BadParameterError for a name that
    cannot be written as ``schema.name``.
    """
    name = f"{schema}.{table}"
    parse_table_name(name)
    return LiveDefinition(table=name, name=f"changes of {name}", changes_only=True)


def _other(before: LiveDefinition, wanted: LiveDefinition) -> BadParameterError:
    differ = [
        f"{field} {getattr(before, field)!r} and not {getattr(wanted, field)!r}"
        for field in LiveDefinition.__struct_fields__
        if field not in {"added_ns", "wanted_by"}
        and getattr(before, field) != getattr(wanted, field)
    ]
    return bad(
        "name",
        f"{wanted.name!r} is live with {', '.join(differ)}",
        "ask for it as it is, give the other a name of its own (name=), or drop it first: "
        f"`ngb live drop {wanted.name}`",
    )


def _format(raw: bytes) -> Any:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found.get("format") if isinstance(found, dict) else None


def _other_format(told: Any) -> str:
    return f"its format is {told!r}, this version knows {FORMAT}"
