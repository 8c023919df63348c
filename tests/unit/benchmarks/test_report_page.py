"""The page: whole, self-contained, honest, safe."""

from __future__ import annotations

import re

import msgspec
import pytest
from pydantic import SecretStr

from neural_gpu_bus.benchmarks.machine import over_network
from neural_gpu_bus.benchmarks.report import line_chart, stage_chart, time_chart
from neural_gpu_bus.benchmarks.report.page import headline, render
from neural_gpu_bus.benchmarks.report.svg import NARROW, WIDE
from neural_gpu_bus.benchmarks.results import COLD, from_json
from sample_results import sample_results

PAGE_BYTES_MAX = 500_000


def test_page_loads_nothing_from_elsewhere() -> None:
    page = render(sample_results())

    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", page)
    assert addresses == []
    assert set(re.findall(r"https?://[^\"'\s<]+", page)) == {"http://www.w3.org/2000/svg"}


def test_page_is_small_and_has_no_template_left() -> None:
    page = render(sample_results())

    assert len(page.encode()) < PAGE_BYTES_MAX
    assert "$" not in page


def test_page_shows_every_workload_in_table_and_both_widths() -> None:
    results = sample_results()
    page = render(results)

    for result in results.workloads:
        # Table row, spread of four ways, two charts in two widths each, and the engine.
        assert page.count(result.title) >= 1 + 4 + 4 + 1
    assert page.count('<svg class="wide"') == page.count('<svg class="narrow"') > 0


def test_text_from_data_is_escaped() -> None:
    page = render(sample_results(note="<script>alert(1)</script>"))

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_headline_names_what_is_slower() -> None:
    results = sample_results()
    first = results.workloads[0]
    slow = msgspec.structs.replace(first.timings[COLD], median_s=99.0)
    changed = msgspec.structs.replace(first, timings={**first.timings, COLD: slow})
    worse = msgspec.structs.replace(results, workloads=[changed, *results.workloads[1:]])

    assert "slower" not in headline(results)
    assert "cold (slower on Portfolio risk)" in headline(worse)
    assert "ratio slower" in render(worse)


def test_the_page_says_of_this_run_alone_where_it_ran() -> None:
    results = sample_results()
    first = msgspec.structs.replace(results.workloads[0], engine="gpu (torch:cuda)")
    changed = msgspec.structs.replace(
        results, workloads=[first, *results.workloads[1:]], over_network=["PostgreSQL"]
    )

    assert "No accelerator was used. Clients, workers and servers shared" in render(results)
    page = render(changed)
    assert "No accelerator" not in page
    assert "Portfolio risk (gpu (torch:cuda))" in page
    assert "PostgreSQL came over a network" in page


def test_pictures_tell_how_many_bars_they_show() -> None:
    assert "The last 300 bars" in render(sample_results())


@pytest.mark.parametrize(
    ("dsn", "url", "found"),
    [
        ("host=/run/pg dbname=x", "unix:///run/redis.sock", []),
        ("postgresql://u:p@127.0.0.1/x", "redis://[::1]:6379/0", []),
        ("postgresql://localhost,db2/x", "redis://localhost/0", ["PostgreSQL"]),
        ("postgresql:///x", "redis://10.0.0.1:6379/0", ["Redis"]),
    ],
)
def test_a_network_is_what_is_no_local_socket(dsn: str, url: str, found: list[str]) -> None:
    assert over_network(SecretStr(dsn), SecretStr(url)) == found


def test_page_without_any_workload_says_so() -> None:
    empty = msgspec.structs.replace(
        sample_results(), workloads=[], pictures=[], skipped={"vpin.trades": "no trades"}
    )

    page = render(empty)

    assert "No workload could run on this data." in page
    assert "vpin.trades: no trades" in page


def test_results_survive_json() -> None:
    results = sample_results()

    assert from_json(results.to_json()) == results


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_labels_stay_inside_the_picture(width: float) -> None:
    results = sample_results().workloads
    for drawing in (time_chart.draw(results, width), stage_chart.draw(results, width)):
        svg = drawing.svg("wide")
        for x, anchor, words in re.findall(
            r'<text x="([\d.]+)"[^>]*text-anchor="(\w+)">([^<]*)<', svg
        ):
            length = len(words) * 6.5 * {"start": 1, "middle": 0.5, "end": 0}[anchor]
            assert float(x) + length <= width + 8, words


def test_axis_encloses_all_times_in_powers_of_ten() -> None:
    assert time_chart.decades([0.0023, 1.8]) == (-3, 1)
    assert time_chart.decades([0.01, 0.01]) == (-2, -1)
    assert [time_chart.axis_label(power) for power in (-5, -3, -1, 0)] == [
        "10 µs",
        "1 ms",
        "100 ms",
        "1 s",
    ]


def test_ticks_are_round_and_enclose_the_values() -> None:
    assert line_chart.round_ticks(1631.2, 1634.4) == [1631.0, 1632.0, 1633.0, 1634.0, 1635.0]
    assert line_chart.round_ticks(5.0, 5.0)[0] <= 5.0
