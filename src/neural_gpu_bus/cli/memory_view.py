"""The unified memory as a person looks at it: fill, what is worth keeping, who holds what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import nlargest, nsmallest
from typing import TYPE_CHECKING

from psutil import STATUS_STOPPED
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from neural_gpu_bus.cli.console import printable
from neural_gpu_bus.quantities import count, ratio, shorter, size, span

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from neural_gpu_bus.descriptors import (
        DatasetFacts,
        MemoryStatistics,
        ProcessStatistics,
        RegionStatistics,
        SeriesFacts,
    )

#: Columns of a terminal from which on there is room for more of each dataset and process.
WIDE = 110
#: Processes that are shown: the stopped first, then whoever keeps most.
PROCESSES_SHOWN_MAX = 20
#: Groups of series that are shown, the biggest first.
GROUPS_SHOWN_MAX = 10
#: Fill from which on a bar is yellow, then red: evictions are near.
HIGH, FULL = 0.75, 0.95


def memory_view(
    statistics: MemoryStatistics,
    datasets: Sequence[DatasetFacts],
    series: Sequence[SeriesFacts] = (),
    *,
    now_ns: int,
    datasets_max: int,
    width: int,
) -> RenderableType:
    """All of it, for a terminal of that many columns."""
    wide = width >= WIDE
    parts: list[RenderableType] = [_headline(statistics), ""]
    if statistics.regions:
        parts += [_regions(statistics.regions, wide=wide), ""]
    if statistics.processes:  # before the datasets: a low terminal cuts the end off
        parts += [_processes(statistics.processes, now_ns, wide=wide), ""]
        parts += [*_remarks(statistics.processes), ""]
    for title, chosen in _chosen(datasets, datasets_max):
        parts += [f"[bold]{title}[/]", _datasets(chosen, now_ns, wide=wide), ""]
    if series:
        parts += ["[bold]growing columns[/]", _series(series, now_ns, wide=wide), ""]
    if not datasets:
        parts += ["no datasets yet; `ngb query SQL --name NAME` keeps a result as one", ""]
    return Group(*_without_double_gaps(parts))


def _without_double_gaps(parts: Sequence[RenderableType]) -> list[RenderableType]:
    """No empty line after another, and none at the end."""
    kept = [part for place, part in enumerate(parts) if part != "" or parts[place - 1] != ""]
    return kept[:-1] if kept[-1] == "" else kept


class Bar:
    """A share as a bar that fills its cell."""

    def __init__(self, share: float) -> None:
        self._share = min(max(share, 0.0), 1.0)

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        full, empty = "#." if options.ascii_only else "█░"
        width = options.max_width
        # The first byte shows, and only a full region is drawn full.
        cells = min(max(round(self._share * width), self._share > 0), width - (self._share < 1))
        colour = "red" if self._share >= FULL else "yellow" if self._share >= HIGH else "green"
        yield Text.assemble((full * cells, colour), (empty * (width - cells), "dim"))


class Name:
    """A text on one line, cut in its middle where the cell is narrow."""

    def __init__(self, text: str, mark: str = "") -> None:
        self._text, self._mark = printable(text), mark

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        cut = "~" if options.ascii_only else "…"
        text = shorter(self._text, options.max_width - len(self._mark), cut)
        yield Text.assemble(text, (self._mark, "cyan"), no_wrap=True)


def _headline(found: MemoryStatistics) -> str:
    lines = [
        f"[bold]shared memory[/] in {escape(printable(found.folder))}",
        f"{size(found.bytes_used)} of {size(found.bytes_max)} used, "
        f"{size(found.bytes_free_host)} free on this host; "
        f"{found.datasets:,} datasets in {found.blocks:,} blocks",
    ]
    if found.series_bytes:
        lines.append(f"growing columns take {size(found.series_bytes)} of it")
    uses = [f"{name} {count:,}" for name, count in found.engine_uses.items() if count]
    if uses:
        lines.append(f"blocks read by jobs: {', '.join(uses)}")
    if found.policy:
        lines.append(f"when a region is full, {escape(found.policy)} says what goes")
    return "\n".join(lines)


def _table(*columns: str, flexible: str) -> Table:
    """A table without lines; numbers to the right, and one column takes what is left."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True, header_style="dim")
    for column in columns:
        if column == flexible:
            table.add_column(column, ratio=1, no_wrap=True, overflow="ellipsis")
        else:
            left = column in {"region", "state"}
            table.add_column(column, justify="left" if left else "right", no_wrap=True)
    return table


def _regions(regions: Sequence[RegionStatistics], *, wide: bool) -> Table:
    more = ("evicted bytes", "datasets") if wide else ()
    columns = ("region", "fill", "", "used", "budget", "hit ratio", "time saved", "evicted", *more)
    table = _table(*columns, flexible="fill")
    for region in regions:
        share = region.bytes_used / region.bytes_max if region.bytes_max else 0.0
        row = [
            region.name,
            Bar(share),
            f"{100 * share:.0f} %" if not 0 < share < 0.005 else "<1 %",
            size(region.bytes_used),
            size(region.bytes_max),
            ratio(region.hits, region.hits + region.misses),
            span(region.saved_ns),
            f"{region.evictions:,}",
        ]
        table.add_row(*row, *([size(region.evicted_bytes), f"{region.datasets:,}"] if wide else []))
    return table


def _chosen(
    datasets: Sequence[DatasetFacts], most: int
) -> Iterator[tuple[str, Sequence[DatasetFacts]]]:
    """All where they are few; else the biggest and the oldest."""
    if 0 < len(datasets) <= most:
        yield "datasets", sorted(datasets, key=lambda one: -one.nbytes)
    elif datasets and most:
        of_all = f"of {len(datasets):,} datasets"
        yield f"{most} biggest {of_all}", nlargest(most, datasets, key=lambda one: one.nbytes)
        yield f"{most} oldest {of_all}", nsmallest(most, datasets, key=lambda one: one.created_ns)


def _datasets(datasets: Sequence[DatasetFacts], now_ns: int, *, wide: bool) -> Table:
    more = ("version", "columns", "region", "to make again") if wide else ()
    columns = ("dataset", "rows", "size", "age", "used ago", "hits", "mapped by", *more)
    table = _table(*columns, flexible="dataset")
    for one in datasets:
        row = [
            count(one.rows),
            size(one.nbytes),
            span(now_ns - one.created_ns),
            span(now_ns - max(one.used_ns, one.created_ns)),
            count(one.hits),
            _pids(one.pids, shown_max=2 if wide else 1),
        ]
        if wide:
            again = span(one.reload_ns) if one.reload_ns else "-"
            row += [str(one.version), f"{len(one.columns):,}", one.region, again]
        table.add_row(Name(one.name, " (pinned)" if one.pinned else ""), *row)
    return table


def _series(groups: Sequence[SeriesFacts], now_ns: int, *, wide: bool) -> Table:
    """The biggest groups; what each holds."""
    more = ("generation",) if wide else ()
    table = _table(
        "group", "series", "partitions", "size", "published", "writer", *more, flexible="group"
    )
    for one in nlargest(GROUPS_SHOWN_MAX, groups, key=lambda one: one.nbytes):
        row = [
            count(len(one.series)),
            count(one.partitions),
            size(one.nbytes),
            span(now_ns - one.published_ns),
            str(one.writer_pid or "-"),
        ]
        table.add_row(Name(one.group), *row, *([count(one.generation)] if wide else []))
    if len(groups) > GROUPS_SHOWN_MAX:
        table.add_row(f"and {len(groups) - GROUPS_SHOWN_MAX:,} more; `--json` has them all")
    return table


def _pids(pids: Sequence[int], *, shown_max: int) -> str:
    if len(pids) > shown_max:
        return f"{len(pids):,} pids"
    return ", ".join(map(str, pids)) or "-"


def _processes(processes: Sequence[ProcessStatistics], now_ns: int, *, wide: bool) -> Table:
    more = ("hits", "misses", "without a name") if wide else ()
    columns = ("pid", "state", "process", "blocks", "mapped", "of it gone", "held", *more)
    table = _table(*columns, flexible="process")
    for one in nsmallest(PROCESSES_SHOWN_MAX, processes, key=_attention):
        row = [
            f"{one.mapped_blocks:,}",
            size(one.mapped_bytes),
            size(one.gone_bytes) if one.gone_bytes else "-",
            _held(one, now_ns),
        ]
        if wide:
            row += [count(one.hits), count(one.misses), size(one.unnamed_bytes)]
        state = one.state.upper() if one.state == STATUS_STOPPED else one.state
        style = "bold red" if one.state == STATUS_STOPPED else "yellow" if one.gone_bytes else ""
        table.add_row(str(one.pid), state, Name(one.command), *row, style=style)
    return table


def _held(one: ProcessStatistics, now_ns: int) -> str:
    """How long it has held the oldest of what is gone; nobody knows of a foreign program."""
    if one.gone_since_ns:
        return span(now_ns - one.gone_since_ns)
    return "?" if one.gone_bytes else "-"


def _attention(one: ProcessStatistics) -> tuple[bool, int, int, int]:
    """The stopped first, then who holds most that nobody else can free."""
    return one.state != STATUS_STOPPED, -one.gone_bytes, -one.mapped_bytes, one.pid


def _remarks(processes: Sequence[ProcessStatistics]) -> Iterator[str]:
    """What to do about what stands out."""
    if len(processes) > PROCESSES_SHOWN_MAX:
        yield f"and {len(processes) - PROCESSES_SHOWN_MAX:,} more processes; `--json` has them all"
    for one in processes:
        if one.state == STATUS_STOPPED:
            held = size(one.mapped_bytes + one.unnamed_bytes)
            yield (
                f"[bold red]{one.pid} is stopped[/] and keeps {held}; nobody waits for it. "
                f"`kill -CONT {one.pid}` lets it go on, `kill -KILL {one.pid}` ends it"
            )
    if gone := sum(one.gone_bytes for one in processes):
        yield (
            f"[yellow]{size(gone)} gone[/]: dropped, replaced or evicted, and still mapped; free "
            "when those processes let go of their frames"
        )
