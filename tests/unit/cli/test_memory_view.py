"""What ``ngb memory`` shows fits a terminal, and what stands out is told."""

from __future__ import annotations

import io
from collections.abc import Sequence

import msgspec
import pytest
from rich.console import Console

from neural_gpu_bus.cli.memory_view import memory_view
from neural_gpu_bus.descriptors import DatasetFacts, MemoryStatistics, SeriesFacts
from sample_memory import NOW_NS, dataset, empty_memory, process, sample_datasets, sample_memory


def shown(
    statistics: MemoryStatistics,
    datasets: Sequence[DatasetFacts] = (),
    *,
    width: int = 80,
    datasets_max: int = 5,
    encoding: str = "utf-8",
) -> list[str]:
    """Lines of the view as a terminal of that width and encoding gets them."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, highlight=False)
    console.print(
        memory_view(statistics, datasets, now_ns=NOW_NS, datasets_max=datasets_max, width=width)
    )
    file.seek(0)
    return file.read().splitlines()


def row(lines: Sequence[str], beginning: str) -> list[str]:
    """Cells of the first line that begins so."""
    return next(line.split() for line in lines if line.split()[:1] == [beginning])


@pytest.mark.parametrize("width", [80, 120])
def test_every_line_fits_and_no_number_is_cut(width: int) -> None:
    lines = shown(sample_memory(), sample_datasets(), width=width)

    assert max(len(line.rstrip()) for line in lines) <= width
    for line in lines:
        if "…" in line:  # nothing but a name, in the column that gives way
            name = next(word for word in line.split() if "…" in word)
            assert line.index(name) < width // 2
            assert line.count("…") == 1


def test_groups_of_series_are_shown_the_biggest_first() -> None:
    groups = [
        SeriesFacts(f"g{number}", ("bars", "ticks"), 5_000, number << 20, 7, NOW_NS - 10**9, 42)
        for number in range(1, 13)
    ]
    file = io.StringIO()
    view = memory_view(sample_memory(), (), groups, now_ns=NOW_NS, datasets_max=5, width=80)
    Console(file=file, width=80).print(view)
    lines = file.getvalue().splitlines()
    at = lines.index("growing columns")

    assert lines[at + 2].split() == ["g12", "2", "5,000", "12", "MiB", "1.0", "s", "42"]
    assert lines[at + 12].startswith("and 2 more")


def test_regions_show_fill_hits_savings_and_evictions() -> None:
    lines = shown(sample_memory())

    neural = next(line for line in lines if line.startswith("neural"))
    assert neural.split()[2:] == [
        *["77", "%", "3.1", "GiB", "4.0", "GiB", "90.0", "%", "1.6", "min", "3"]
    ]
    bar = neural.split()[1]
    assert bar.count("█") == pytest.approx(0.775 * len(bar), abs=0.5)
    assert row(lines, "gpu")[1].count("█") == 1  # a little is not nothing


def test_only_a_full_region_is_drawn_full() -> None:
    almost = sample_memory().regions[2]
    full = msgspec.structs.replace(almost, name="gpu", bytes_used=almost.bytes_max)
    lines = shown(msgspec.structs.replace(sample_memory(), regions=(almost, full)))

    assert next(line for line in lines if line.startswith("shared  ")).split()[1][-1] == "░"
    assert "░" not in row(lines, "gpu")[1]


def test_the_biggest_and_the_oldest_are_shown_where_there_are_many() -> None:
    old = dataset(1, name="old and small", created_ns=0, nbytes=1)
    lines = shown(sample_memory(), [*sample_datasets(), old], datasets_max=2)
    biggest, oldest = (
        lines.index("2 biggest of 15 datasets"),
        lines.index("2 oldest of 15 datasets"),
    )

    assert [line.split()[0][-4:] for line in lines[biggest + 2 : biggest + 4]] == ["2014", "2013"]
    assert lines[oldest + 2].startswith("old and small")


def test_few_datasets_are_shown_once() -> None:
    lines = shown(sample_memory(), sample_datasets(2))

    assert "datasets" in lines
    assert sum("/2001" in line for line in lines) == 1
    assert sum("(pinned)" in line for line in lines) == 1


def test_a_stopped_process_comes_first_with_the_way_out() -> None:
    lines = shown(sample_memory())
    header = next(place for place, line in enumerate(lines) if "of it gone" in line)
    text = " ".join(lines)

    assert [line.split()[0] for line in lines[header + 1 : header + 4]] == ["4321", "98765", "4001"]
    assert "STOPPED" in lines[header + 1]
    assert lines[header + 1].split()[-4:] == ["740", "MiB", "1.5", "h"]
    assert lines[header + 2].split()[-1] == "?"  # a foreign program did not say since when
    assert "4321 is stopped and keeps 1.2 GiB" in text
    assert "`kill -CONT 4321`" in text
    assert "741 MiB gone" in text


def test_of_many_processes_those_that_keep_most_are_shown() -> None:
    many = tuple(process(pid, "a", "sleeping", mapped_bytes=pid << 20) for pid in range(1, 31))
    lines = shown(msgspec.structs.replace(sample_memory(), processes=many))

    assert row(lines, "30")
    assert not [line for line in lines if line.split()[:1] == ["10"]]
    assert "and 10 more processes; `--json` has them all" in lines


def test_nothing_to_remark_is_no_remark() -> None:
    calm = msgspec.structs.replace(sample_memory(), processes=(process(1, "a", "sleeping"),))

    text = "\n".join(shown(calm))

    assert "stopped" not in text
    assert "still mapped" not in text


def test_an_empty_memory_says_how_to_begin() -> None:
    text = "\n".join(shown(empty_memory()))

    assert "no datasets yet" in text
    assert "process" not in text
    assert "\n\n\n" not in text
    assert not text.endswith("\n")


def test_names_are_text_and_never_markup_or_control_characters() -> None:
    lines = shown(sample_memory(), [dataset(1, name="[red]x[/] \x1b[31my")], width=120)

    assert any(line.startswith(r"[red]x[/] \x1b[31my") for line in lines)


def test_a_terminal_without_unicode_gets_plain_bars() -> None:
    neural = row(shown(sample_memory(), encoding="ascii"), "neural")

    assert set(neural[1]) == {"#", "."}
