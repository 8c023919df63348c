"""What ``ngb live watch`` and ``add`` print where no terminal is, and what a copy's bar says."""

from __future__ import annotations

import io
import math

from msgspec.structs import replace
from rich.console import Console

from neural_gpu_bus.cli.live_copying import Copying, in_words, rows_in_words
from neural_gpu_bus.cli.live_lines import live_lines
from neural_gpu_bus.live.definitions import live_definition
from neural_gpu_bus.live.looking import LiveNow, LiveTableNow
from neural_gpu_bus.live.shared import LiveAsOf, TableState

NOON_NS = 43_200 * 10**9


def now(at_s: float, changes: int, lag_s: float = 0.042) -> LiveNow:
    state = TableState("bars", "bars@1", "live", changes=changes)
    as_of = LiveAsOf("bars", "live", 0x1A2B3C8, None, lag_s, 0.01)
    table = LiveTableNow("bars", live_definition("bars"), state, as_of, 3_000, 3)
    return LiveNow(int(at_s * 1e9), (table,), "db", 42, 0.01, int(at_s) * 2048, 0)


def test_a_line_for_each_table_and_one_for_the_stream() -> None:
    lines = list(live_lines(now(1, 100), now(3, 2_500), wall_ns=NOON_NS))

    assert lines == [
        "12:00:00 bars live lag 42 ms 1,200 rows/s 3,000 rows at 0/1A2B3C8",
        "12:00:00 2.0 KiB/s of WAL, process 42",
    ]


def test_what_is_not_known_is_told_so() -> None:
    added = LiveTableNow("new", live_definition("new"), None, None)
    before = now(1, 100, math.inf)
    after = replace(before, tables=(*before.tables, added), pid=0)

    lines = list(live_lines(before, after, wall_ns=NOON_NS))

    assert lines[0].startswith("12:00:00 bars live lag ? 0 rows/s")
    assert lines[1] == "12:00:00 new not begun 0 rows/s"
    assert lines[2].endswith("process none")
    none = replace(before, tables=())
    assert list(live_lines(none, none, wall_ns=NOON_NS)) == ["12:00:00 no table is live"]


def test_counters_that_began_anew_are_no_negative_rate() -> None:
    assert "0 rows/s" in next(live_lines(now(1, 9_000), now(2, 5), wall_ns=NOON_NS))


def test_a_wait_is_told_once_however_long_it_lasts() -> None:
    file = io.StringIO()
    waits = "waiting for transaction of pid 7 (psql, 2 s old: INSERT)"
    with Copying("bars", Console(file=file, width=80)) as shown:
        for detail in (waits, waits.replace("2 s old", "3 s old"), ""):
            shown.tell(TableState("bars", state="waiting", detail=detail))
        shown.tell(TableState("bars", state="copying", rows_copied=5))

    assert file.getvalue().splitlines() == [
        f"bars: {waits}",
        "bars: waiting for PostgreSQL",
        "bars: copying",
    ]


def test_the_bar_on_a_terminal_says_how_far_the_copy_is() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True)
    state = TableState("bars", state="copying", rows_copied=3_000, rows_expected=12_000)
    with Copying("bars", console) as shown:
        shown.tell(state)

    assert "3,000 of about 12,000 rows" in file.getvalue()
    assert rows_in_words(replace(state, rows_expected=0)) == "3,000 rows"
    assert rows_in_words(replace(state, bytes_copied=2 << 20)).endswith("12,000 rows, 2.0 MiB")
    assert in_words(replace(state, state="catching up")) == "catching up"
