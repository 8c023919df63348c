"""Results to one HTML file. Pure: no clock, no network; the template lies beside."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from importlib import resources
from string import Template

from neural_gpu_bus.benchmarks import equality
from neural_gpu_bus.benchmarks.report import line_chart, path_picture, stage_chart, time_chart
from neural_gpu_bus.benchmarks.report.svg import NARROW, WIDE, Drawing
from neural_gpu_bus.benchmarks.results import (
    COLD,
    LIBRARY,
    RESIDENT,
    STAGES,
    TRADITIONAL,
    WAYS,
    DemoResults,
    Series,
)
from neural_gpu_bus.benchmarks.tasks import WINDOW
from neural_gpu_bus.benchmarks.wording import duration, listed, slower, span, times

#: Heading, explanation, height and guides of each picture.
PICTURES = {
    "indicators": (
        "Bollinger bands, 20 bars wide",
        "The last {points} bars: the average, and two standard deviations to either side.",
        200,
        (),
    ),
    "rsi": (
        "Relative strength index, 14 bars",
        "Above 70 and below 30 are the usual marks.",
        140,
        (30.0, 70.0),
    ),
    "vpin.trades": (
        "VPIN from trades",
        f"Share of one-sided volume over {WINDOW} buckets. Steps to the right are equal steps of "
        "volume, not of time.",
        170,
        (),
    ),
    "vpin.bars": (
        "VPIN from bars",
        "The same from bars, whose volume bulk classification divides into bought and sold. Its "
        "level differs from that of trades with sides: known, and disputed.",
        170,
        (),
    ),
}


def render(results: DemoResults) -> str:
    """The page. Every text that comes from data is escaped."""
    template = Template(
        resources.files(__package__).joinpath("template.html").read_text(encoding="utf-8")
    )
    return template.substitute(
        date=escape(results.measured_at.replace("T", " ").replace("+00:00", " UTC")),
        machine=escape(machine_line(results)),
        headline=escape(headline(results)),
        table=_table(results),
        spread=_spread(results),
        time_finding=escape(time_finding(results)),
        time_chart=_both(lambda width: time_chart.draw(results.workloads, width)),
        stage_finding=escape(stage_finding(results)),
        stage_legend="".join(
            f'<li><i class="{stage_chart.KINDS[stage]}"></i><b>{stage}</b> {escape(what)}</li>'
            for stage, what in STAGES.items()
        ),
        stage_chart=_both(lambda width: stage_chart.draw(results.workloads, width)),
        path=path_picture.draw_wide().svg("wide") + path_picture.draw_narrow().svg("narrow"),
        pictures="".join(_picture(series) for series in results.pictures),
        data_notes=_items(results.data_notes),
        skipped=_skipped(results),
        engines=_items(
            [f"{result.title}: {result.engine}. {result.reason}" for result in results.workloads]
        ),
        repeats=results.repeats,
        seed=results.seed,
        tolerance=f"{equality.RELATIVE_TOLERANCE:g}".replace("e-0", "e-"),
        versions=_versions(results),
        place=escape(f"{_processors(results)} {_connections(results)}"),
    )


def machine_line(results: DemoResults) -> str:
    """Processor, cores, memory, kernel, Python in one line."""
    machine = results.machine
    memory = machine.memory_bytes / 2**30
    return (
        f"{machine.processor}, {machine.cores} cores, {memory:.0f} GiB, {machine.system}, "
        f"{machine.python}"
    )


def headline(results: DemoResults) -> str:
    """The one sentence to remember."""
    found = results.workloads
    if not found:
        return "No workload could run on this data."
    return (
        "From the database to the stored result the direct way is "
        f"{span(found, COLD, TRADITIONAL)} as fast as the traditional way when it reads its "
        f"inputs cold, and {span(found, RESIDENT, TRADITIONAL)} with inputs resident in shared "
        f"memory. Against the best libraries it is {span(found, COLD, LIBRARY)} as fast cold"
        f"{_but_slower(results, COLD)}, and {span(found, RESIDENT, LIBRARY)} resident"
        f"{_but_slower(results, RESIDENT)}."
    )


def _but_slower(results: DemoResults, way: str) -> str:
    losing = slower(results.workloads, way, LIBRARY)
    return f" (slower on {listed(losing)})" if losing else ""


def time_finding(results: DemoResults) -> str:
    """What the bars show."""
    if not results.workloads:
        return ""
    best = max(results.workloads, key=lambda result: result.times_faster(RESIDENT, TRADITIONAL))
    return (
        f"The widest gap is {best.title}: {duration(best.timings[TRADITIONAL].median_s)} the "
        f"traditional way, {duration(best.timings[RESIDENT].median_s)} with resident inputs."
    )


def stage_finding(results: DemoResults) -> str:
    """What the shares show."""
    if not results.workloads:
        return ""
    moved = [_moving_share(result.timings[TRADITIONAL].stages_s) for result in results.workloads]
    low, high = f"{min(moved):.0%}", f"{max(moved):.0%}"
    shares = low if low == high else f"{low} to {high}"
    return f"In the traditional way {shares} of the time goes into moving data in and out."


def _moving_share(stages_s: dict[str, float]) -> float:
    whole_s = sum(stages_s.values())
    return 1.0 - stages_s.get("compute", 0.0) / whole_s if whole_s else 0.0


def _processors(results: DemoResults) -> str:
    """Which workloads used something else than the processor."""
    others = [
        f"{result.title} ({result.engine})"
        for result in results.workloads
        if "cpu" not in result.engine.lower()
    ]
    if not others:
        return "No accelerator was used."
    return f"On an accelerator, the direct way only: {listed(others)}."


def _connections(results: DemoResults) -> str:
    """Whether a network is in the figures."""
    if not results.over_network:
        return (
            "Clients, workers and servers shared one machine's cores and talked over local "
            "sockets: no network is in the figures."
        )
    return (
        f"Clients and workers shared one machine's cores; {listed(results.over_network)} came over "
        "a network, which is in the figures of every way."
    )


def _both(draw: Callable[[float], Drawing]) -> str:
    return draw(WIDE).svg("wide") + draw(NARROW).svg("narrow")


def _picture(series: Series) -> str:
    title, words, height, guides = PICTURES[series.title]
    words = words.format(points=len(series.ts_ns))
    drawn = _both(lambda width: line_chart.draw(series, width, height, guides))
    return f"<figure><h3>{escape(title)}</h3><p>{escape(words)}</p>{drawn}</figure>"


def _table(results: DemoResults) -> str:
    rows = []
    for result in results.workloads:
        cells = [
            f'<th scope="row">{escape(result.title)}<small>{result.input_rows:,} rows in, '
            f"{result.result_rows:,} stored</small></th>"
        ]
        cells += [_cell(way, duration(result.timings[way].median_s)) for way in WAYS]
        cells += [
            _ratio(f"{label} vs {than}", result.times_faster(way, than))
            for label, way in (("cold", COLD), ("resident", RESIDENT))
            for than in (TRADITIONAL, LIBRARY)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return "".join(rows)


def _ratio(label: str, ratio: float) -> str:
    """Green only where the direct way is faster."""
    return _cell(label, times(ratio), "ratio" if ratio >= 1.0 else "ratio slower")


def _cell(label: str, words: str, kind: str = "time") -> str:
    return f'<td data-label="{escape(label)}" class="{kind}">{escape(words)}</td>'


def _spread(results: DemoResults) -> str:
    rows = []
    for result in results.workloads:
        for way in WAYS:
            timing = result.timings[way]
            figures = (
                timing.min_s,
                timing.lower_quartile_s,
                timing.median_s,
                timing.upper_quartile_s,
            )
            cells = "".join(f"<td>{duration(figure)}</td>" for figure in figures)
            rows.append(f'<tr><th scope="row">{escape(result.title)}, {way}</th>{cells}</tr>')
    return "".join(rows)


def _items(lines: list[str]) -> str:
    return "".join(f"<li>{escape(line)}</li>" for line in lines)


def _skipped(results: DemoResults) -> str:
    if not results.skipped:
        return ""
    lines = [f"{workload}: {why}" for workload, why in results.skipped.items()]
    return f"<h3>Skipped</h3><ul>{_items(lines)}</ul>"


def _versions(results: DemoResults) -> str:
    pairs = {**results.servers, **results.versions}
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(version)}</dd></div>"
        for name, version in pairs.items()
    )
