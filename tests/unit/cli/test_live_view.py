"""What ``ngb live list``, ``show`` and ``watch`` draw: it fits, and what stands out is told."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console, RenderableType

from neural_gpu_bus.cli.live_view import NOTHING, live_list, live_show, live_watch
from neural_gpu_bus.descriptors import ErrorRecord
from neural_gpu_bus.live.definitions import live_definition
from neural_gpu_bus.live.looking import LiveNow, LiveTableNow
from neural_gpu_bus.live.shared import LiveAsOf, TableState

WALL_NS = 1_700_000_000_000_000_000


def table(name: str, **told: Any) -> LiveTableNow:
    state = TableState(
        name, "1", **({"state": "live", "since_ns": WALL_NS - 120_000_000_000} | told)
    )
    as_of = LiveAsOf(name, state.state, 0x1A2B3C8, WALL_NS - 2_000_000, 0.0042, 0.05)
    definition = live_definition(f"market.{name}", name=name, key=["id"], order_by="ts")
    return LiveTableNow(name, definition, state, as_of, 12_345_678, 1_000)


def live(*tables: LiveTableNow, **told: Any) -> LiveNow:
    found = LiveNow(5_000_000_000, tables, "app at db.example:5432", 4242, 0.05, 0x400, 0x400)
    return replace(found, **told)


def shown(view: RenderableType, width: int = 80) -> str:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False).print(view)
    return file.getvalue()


def row(text: str, beginning: str) -> list[str]:
    """Cells of the first line that begins so."""
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [beginning])


@pytest.mark.parametrize("width", [80, 120])
def test_a_list_fits_its_terminal(width: int) -> None:
    tables = [table(f"a_very_long_name_of_a_table_number_{number:03d}") for number in range(150)]

    text = shown(live_list(live(*tables), wall_ns=WALL_NS, width=width), width)

    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "and 50 more" in text
    assert "process 4242 follows app at db.example:5432 at 0/400" in text


def test_each_table_is_told_in_a_line() -> None:
    text = shown(live_list(live(table("bars")), wall_ns=WALL_NS, width=80))
    assert row(text, "bars") == ["bars", "live", "2.0", "min", "12.3", "M", "4.2", "ms"]

    text = shown(live_list(live(table("bars", changes=77)), wall_ns=WALL_NS, width=120), 120)
    assert row(text, "bars")[-3:] == ["0/1A2B3C8", "77", "1,000"]


def test_what_needs_a_look_comes_first_with_its_reason() -> None:
    waiting = table("waits", state="waiting", detail="transaction 712 of pid 99")
    why = "it is waiting: pid 99"
    as_of = LiveAsOf("waits", "waiting", 0x60, None, math.inf, 0, why)
    waiting = replace(waiting, as_of=as_of)
    error = ErrorRecord("ReplicationRefusedError", "no right", "GRANT SELECT ON [bars] TO ngb;" * 9)
    failed = table("refused", state="failed", error=error)

    text = shown(live_list(live(table("bars"), waiting, failed), wall_ns=WALL_NS, width=80), 80)
    lines = text.splitlines()

    names = [line.split()[0] for line in lines if "min" in line]
    assert names == ["refused", "waits", "bars"]
    assert row(text, "waits")[-1] == "?"
    assert "waits: it is waiting: pid 99; readers see it as of 0/60" in text
    assert "refused: no right" in text
    assert " ".join(text.split()).count("GRANT SELECT ON [bars] TO") == 9


def test_a_copy_shows_how_far_it_is() -> None:
    copying = table("bars", state="copying", rows_copied=2_500_000, rows_expected=10_000_000)
    assert "copying 25 %" in shown(live_list(live(copying), wall_ns=WALL_NS, width=80))
    text = shown(live_watch(live(copying), live(copying)))
    assert "2,500,000 of about 10,000,000 rows are copied" in text
    assert "█" in text

    more = table("bars", state="copying", rows_copied=12_000_000, rows_expected=10_000_000)
    assert "copying 99 %" in shown(live_list(live(more), wall_ns=WALL_NS, width=80))


def test_what_is_not_known_yet_is_told_as_such() -> None:
    added = LiveTableNow("new", live_definition("new"), None, None)
    dropped = replace(table("old"), definition=None)

    text = shown(live_list(live(added, dropped, pid=0), wall_ns=WALL_NS, width=80))

    assert "no process follows app at db.example:5432 now" in text
    assert "new was added; no process follows it yet" in text
    assert "old was dropped; its process has not heard of it yet" in text
    assert "not begun" in text
    assert NOTHING in shown(live_list(live(), wall_ns=WALL_NS, width=200), 200)
    assert NOTHING in shown(live_watch(live(), live()), 200)


def test_names_and_details_cannot_draw() -> None:
    evil = table("bars", detail="[bold]\x1b]0;")
    as_of = LiveAsOf("bars", "stale", 1, None, 1, 1, "[bold]\x1b]0;")
    evil = replace(evil, name="[red]x\x1b[2J", as_of=as_of)

    for view in (
        live_list(live(evil, source="[red]\x1b"), wall_ns=WALL_NS, width=80),
        live_show(live(evil), evil.name, wall_ns=WALL_NS),
        live_watch(live(evil), live(evil)),
    ):
        text = shown(view)
        assert "\x1b" not in text
        assert "[bold]" in text or "[red]" in text


def test_one_table_is_told_whole() -> None:
    text = shown(live_show(live(table("bars", changes=5, transactions=1)), "bars", wall_ns=WALL_NS))

    told = {line[:14].strip(): line[14:].strip() for line in text.splitlines()}
    assert told["table"] == "market.bars"
    assert told["key"] == "id"
    assert told["state"] == "live, for 2.0 min"
    assert told["rows"] == "12,345,678 in 1,000 partitions"
    assert told["as of"] == "0/1A2B3C8"
    assert told["newest commit"] == "2.0 ms ago"
    assert told["lag"] == "at most 4.2 ms"
    assert told["applied"] == "5 row changes in 1 transaction"
    with pytest.raises(KeyError, match="trades"):
        live_show(live(table("bars")), "trades", wall_ns=WALL_NS)


def test_rates_are_of_the_time_between_two_looks() -> None:
    before = live(table("bars", changes=1_000, transactions=10, stream_bytes=0), at_ns=10**9)
    now = live(
        table("bars", changes=41_000, transactions=50, stream_bytes=4 << 20),
        at_ns=3 * 10**9,
        received_lsn=0x400 + (8 << 20),
        applied_lsn=0x400 + (6 << 20),
    )

    text = shown(live_watch(before, now), 100)

    cells = row(text, "bars")
    assert cells[:6] == ["bars", "live", "20,000", "20", "2.0", "MiB"]
    assert cells[6:8] == ["4.2", "ms"]
    assert "2.0 MiB received and not yet published, 4.0 MiB/s of WAL" in " ".join(text.split())
    anew = live(table("bars", changes=3), at_ns=3 * 10**9)
    assert row(shown(live_watch(before, anew)), "bars")[2] == "0"
    assert "trades" not in shown(live_watch(now, live(table("bars"), table("trades")), name="bars"))
