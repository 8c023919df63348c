"""Live tables as a person looks at them: how each stands, how far it is behind, what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from neural_gpu_bus.cli.console import printable
from neural_gpu_bus.cli.memory_view import WIDE, Bar, Name
from neural_gpu_bus.live.shared.manifest import SHOWN_STATES
from neural_gpu_bus.live.shared.promises import PROMISES
from neural_gpu_bus.live.waiting import spelled
from neural_gpu_bus.quantities import count, plural, size, span

if TYPE_CHECKING:
    from rich.console import RenderableType

    from neural_gpu_bus.live.looking import LiveNow, LiveTableNow

#: Tables that are shown; those that need a look come first.
TABLES_SHOWN_MAX = 100
NOTHING = (
    "no table is live; `ngb live add TABLE --key COLUMN` or plane.live(table, key=...) makes one"
)
_STYLES = {
    "live": "green",
    "polled": "green",
    "failed": "bold red",
    "stale": "yellow",
    "copying anew": "yellow",
    "waiting": "yellow",
}


def live_list(now: LiveNow, *, wall_ns: int, width: int) -> RenderableType:
    """All tables: state, rows, how old they may be; below, what stands out. ``wall_ns``: now."""
    if not now.tables:
        return NOTHING
    wide = width >= WIDE
    more = ("as of", "changes", "partitions") if wide else ()
    table = _table("table", "state", "since", "rows", "lag", *more)
    shown = sorted(now.tables, key=_attention)[:TABLES_SHOWN_MAX]
    for one in shown:
        state, as_of = one.state, one.as_of
        row = [
            _state(one),
            span(wall_ns - state.since_ns) if state is not None and state.since_ns else "-",
            _rows(one),
            _lag(one),
        ]
        if wide:
            row += [
                spelled(as_of.lsn) or "-" if as_of is not None else "-",
                count(state.changes) if state is not None else "-",
                count(one.partitions) if one.partitions is not None else "-",
            ]
        table.add_row(Name(one.name), *row)
    parts: list[RenderableType] = [_headline(now), "", table]
    if len(now.tables) > len(shown):
        parts.append(f"and {len(now.tables) - len(shown):,} more; `--json` has them all")
    remarks = [line for one in shown for line in (*_remarks(one), *_promise(one))]
    return Group(*parts, *(["", *remarks] if remarks else []))


def live_show(now: LiveNow, name: str, *, wall_ns: int) -> RenderableType:
    """One table with all that is known of it. KeyError where there is none of that name."""
    one = {table.name: table for table in now.tables}[name]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in [*_declared(one), *_told(one, wall_ns)]:
        table.add_row(title, escape(printable(text)))
    return Group(table, *_bar(one), *_remarks(one))


def live_watch(before: LiveNow, now: LiveNow, *, name: str = "") -> RenderableType:
    """What went on between two looks: rows, transactions and bytes a second, for each table or
    for the one of that name.
    """
    if not now.tables:
        return NOTHING
    seconds = max(1e-9, (now.at_ns - before.at_ns) / 1e9)
    earlier = {table.name: table for table in before.tables}
    # Not every process that follows counts more than rows.
    counted = any(one.state is not None and one.state.transactions for one in now.tables)
    more = ("commits/s", "stream/s") if counted else ()
    table = _table("table", "state", "rows/s", *more, "lag", "rows")
    chosen = [one for one in now.tables if name in {"", one.name}]
    for one in sorted(chosen, key=_attention)[:TABLES_SHOWN_MAX]:
        rows, commits, stream = _rates(earlier.get(one.name), one, seconds)
        table.add_row(
            Name(one.name),
            _state(one),
            count(round(rows)),
            *([count(round(commits)), size(stream)] if counted else []),
            _lag(one),
            _rows(one),
        )
    bars = [bar for one in chosen for bar in _bar(one)]
    remarks = [line for one in chosen for line in _remarks(one)]
    received = max(0.0, now.received_lsn - before.received_lsn) / seconds
    parts = [f"{_headline(now)}, {size(received)}/s of WAL", "", table, *bars]
    return Group(*parts, *(["", *remarks] if remarks else []))


def _headline(now: LiveNow) -> str:
    source = escape(printable(now.source)) or "PostgreSQL"
    if not now.pid:
        return f"[yellow]no process follows {source} now[/]; the keeper starts one (`ngb up`)"
    behind = max(0, now.received_lsn - now.applied_lsn) if now.applied_lsn else 0
    heard = "" if math.isinf(now.heartbeat_s) else f", heard of {_seconds(now.heartbeat_s)} ago"
    at = f" at {spelled(now.applied_lsn)}" if now.applied_lsn else ""
    held = f", {size(behind)} received and not yet published" if behind else ""
    taken = f", {size(now.nbytes)} of shared memory" if now.nbytes else ""
    slot = f", by {escape(printable(now.slot))}" if now.slot else ""
    alarm = f"\n[yellow]{escape(printable(now.slot_alarm))}[/]" if now.slot_alarm else ""
    return f"process {now.pid} follows {source}{at}{heard}{held}{taken}{slot}{alarm}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True, header_style="dim")
    for column in columns:
        if column == "table":
            table.add_column(column, ratio=1, no_wrap=True, overflow="ellipsis")
        else:
            left = column == "state"
            table.add_column(column, justify="left" if left else "right", no_wrap=True)
    return table


def _state(one: LiveTableNow) -> str:
    if one.definition is None:
        return "[yellow]going[/]"
    if one.state is None:
        return "[yellow]not begun[/]"
    state = one.state
    style = _STYLES.get(state.state, "cyan")
    if state.state in SHOWN_STATES and one.as_of is not None and one.as_of.is_stale:
        return f"[yellow]{state.state}, silent[/]"
    share = _share(one)
    done = f" {100 * share:.0f} %" if share is not None else ""
    return f"[{style}]{state.state}{done}[/]"


def _share(one: LiveTableNow) -> float | None:
    """Of a copy that runs; the estimate may be too low, so never all of it."""
    state = one.state
    if state is None or state.state not in {"copying", "copying anew"} or not state.rows_expected:
        return None
    return min(0.99, state.rows_copied / state.rows_expected)


def _bar(one: LiveTableNow) -> Iterator[RenderableType]:
    share, state = _share(one), one.state
    if share is not None and state is not None:
        yield Bar(share)
        yield (
            f"{escape(printable(one.name))}: {state.rows_copied:,} of about "
            f"{state.rows_expected:,} rows are copied, {size(state.bytes_copied)}"
        )


def _rows(one: LiveTableNow) -> str:
    if one.rows is not None:
        return count(one.rows)
    return "-"


def _lag(one: LiveTableNow) -> str:
    if one.as_of is None or not one.state or not one.state.series:
        return "-"
    return "?" if math.isinf(one.as_of.lag_s) else _seconds(one.as_of.lag_s)


def _seconds(seconds: float) -> str:
    return span(seconds * 1e9)


def _rates(
    before: LiveTableNow | None, now: LiveTableNow, seconds: float
) -> tuple[float, float, float]:
    """Row changes, transactions and bytes a second; 0 where its counters began anew."""
    one, other = (None if before is None else before.state), now.state
    if one is None or other is None or one.changes > other.changes:
        return 0.0, 0.0, 0.0
    return (
        (other.changes - one.changes) / seconds,
        max(0, other.transactions - one.transactions) / seconds,
        max(0, other.stream_bytes - one.stream_bytes) / seconds,
    )


def _attention(one: LiveTableNow) -> tuple[bool, str]:
    """Those that are not live first."""
    is_well = one.state is not None and one.state.state in SHOWN_STATES
    return is_well and one.as_of is not None and not one.as_of.is_stale, one.name


def _remarks(one: LiveTableNow) -> Iterator[str]:
    """Why it is not as fresh as can be, and what to do."""
    name = f"[bold]{escape(printable(one.name))}[/]"
    if one.definition is None:
        yield f"{name} was dropped; its process has not heard of it yet"
        return
    if one.state is None:
        yield f"{name} was added; no process follows it yet"
        return
    error = one.state.error
    if error is not None:
        yield f"{name}: [red]{escape(printable(error.what))}[/]"
        if error.hint:
            yield f"  hint: {escape(_uncut(error.hint))}"
    elif one.as_of is not None and one.as_of.stale:
        shows = ""
        if one.state.state != "live" and one.as_of.lsn:
            shows = f"; readers see it as of {spelled(one.as_of.lsn)}"
        yield f"{name}: {escape(printable(one.as_of.stale))}{shows}"


def _promise(one: LiveTableNow) -> Iterator[str]:
    """What holds of it less than of others."""
    if one.as_of is not None and one.as_of.promise:
        yield f"[bold]{escape(printable(one.name))}[/] is followed [dim]{one.as_of.promise}[/]"


def _uncut(text: str) -> str:
    """As a terminal may be given it, whole: a hint may be the SQL to run."""
    return "".join(
        char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text
    )


def _declared(one: LiveTableNow) -> Iterator[tuple[str, str]]:
    found = one.definition
    if found is None:
        return
    yield "table", found.table
    yield "key", ", ".join(found.key) or "none: one partition"
    yield "order", found.order_by or "as rows came"
    yield "columns", "all" if found.columns is None else ", ".join(found.columns)
    if found.where is not None:
        yield "where", found.where
    kinds = {"stream": "by the stream of commits", "trigger": "by triggers", "poll": "by polling"}
    follows = kinds[found.how] + (", inserts alone" if found.append_only else "")
    yield "followed", follows
    if found.how == "stream":
        yield "slot", found.slot
    else:
        yield "promise", PROMISES[found.how]
    if found.how == "poll":
        yield "watermark", f"{found.watermark}, and all rows every {found.recopy_s:g} s"


def _told(one: LiveTableNow, wall_ns: int) -> Iterator[tuple[str, str]]:
    state, as_of = one.state, one.as_of
    if state is None or as_of is None:
        yield "state", "no process follows it yet"
        return
    since = f", for {span(wall_ns - state.since_ns)}" if state.since_ns else ""
    yield "state", f"{state.state}{since}" + (f": {state.detail}" if state.detail else "")
    if one.rows is not None:
        yield "rows", f"{one.rows:,} in {plural(one.partitions or 0, 'partition')}"
    if as_of.lsn:
        yield "as of", spelled(as_of.lsn)
    if as_of.committed_ns:
        yield "newest commit", f"{span(wall_ns - as_of.committed_ns)} ago"
    yield "lag", "not known" if math.isinf(as_of.lag_s) else f"at most {_seconds(as_of.lag_s)}"
    commits = f" in {plural(state.transactions, 'transaction')}" if state.transactions else ""
    yield "applied", plural(state.changes, "row change") + commits
    if state.stream_bytes:
        yield "received", size(state.stream_bytes)
    if state.looked_s:
        yield "promise", as_of.promise
    yield from (("note", notice) for notice in state.notices)
