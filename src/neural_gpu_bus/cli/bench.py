"""``ngb bench`` and its parts: run them, show how they come along, print their tables."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from neural_gpu_bus.cli.bench_eviction import bench_eviction
from neural_gpu_bus.cli.demo_tables import Display, print_case
from neural_gpu_bus.cli.output_files import require_writable, write_whole
from neural_gpu_bus.cli.rivals import POSTGRES_RIVALS, RIVALS, require_rivals

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.memory.answers import QuestionResults

app = typer.Typer(invoke_without_command=True)
app.command("eviction")(bench_eviction)

Only = Annotated[list[str] | None, typer.Option(help="Case to run; may be repeated.")]
Json = Annotated[Path | None, typer.Option(help="File for the figures.")]


@app.callback()
def bench(
    context: typer.Context,
    only: Only = None,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Timed runs of each entrant.")] = 5,
    json: Json = None,
    quick: Annotated[bool, typer.Option(help="A hundredth of the rows: a check, no figures.")] = (
        False
    ),
) -> None:
    """Time single steps, the direct way beside what a user has today; equality first."""
    if context.invoked_subcommand is not None:
        return
    require_rivals(RIVALS, extra="bench")
    if json is not None:
        require_writable("--json FILE", json)
    import neural_gpu_bus as ngb
    from neural_gpu_bus.benchmarks.cases import CASES
    from neural_gpu_bus.benchmarks.choosing import chosen

    cases = chosen(only or [], CASES, "case")
    display = Display()
    with display, ngb.open() as plane, ExitStack() as at_end:
        from neural_gpu_bus.benchmarks.case import Ground, run_cases

        ground = Ground.of(plane, 10_000 if quick else 1_000_000, at_end)
        found = run_cases(cases, ground, repeats=repeats, clock=time.perf_counter, watcher=display)
    for result in found.cases:
        print_case(result)
    if json is not None:
        write_whole("--json FILE", json, found.to_json())


@app.command()
def memory(
    only: Annotated[list[str] | None, typer.Option(help="Question to ask; may be repeated.")] = (
        None
    ),
    json: Json = None,
    quick: Annotated[bool, typer.Option(help="Small data, few calls: a check, no figures.")] = (
        False
    ),
) -> None:
    """Unified memory beside Ray, LMDB, Redis, shared_memory, pyarrow, ArcticDB and the machine."""
    if json is not None:
        require_writable("--json FILE", json)
    from neural_gpu_bus.benchmarks.choosing import chosen
    from neural_gpu_bus.benchmarks.memory import QUESTIONS, run_questions

    _ask(partial(run_questions, chosen(only or [], QUESTIONS, "question")), json, quick=quick)


def _ask(run: Callable[..., QuestionResults], json: Path | None, *, quick: bool) -> None:
    """Run the questions on a plane of their own, and show and keep what they found."""
    import neural_gpu_bus as ngb
    from neural_gpu_bus.cli.memory_answers import print_answers

    display = Display()
    with display, ngb.open() as plane:
        found = run(plane, quick=quick, clock_ns=time.perf_counter_ns, watcher=display)
    print_answers(found)
    if json is not None:
        write_whole("--json FILE", json, found.to_json())


def _mute() -> None:
    """Tables of a quick run are too small to be shared by connections, which would be told."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


@app.command()
def postgres(
    only: Annotated[list[str] | None, typer.Option(help="Question to ask; may be repeated.")] = (
        None
    ),
    json: Json = None,
    quick: Annotated[bool, typer.Option(help="Small tables, few runs: a check, no figures.")] = (
        False
    ),
) -> None:
    """PostgreSQL beside ADBC, DuckDB, ConnectorX, Polars, pandas, asyncpg, psycopg, and alone."""
    require_rivals(POSTGRES_RIVALS, extra="bench")
    if quick:
        _mute()
    if json is not None:
        require_writable("--json FILE", json)
    from neural_gpu_bus.benchmarks.choosing import chosen
    from neural_gpu_bus.benchmarks.postgres import QUESTIONS, run_questions

    _ask(partial(run_questions, chosen(only or [], QUESTIONS, "question")), json, quick=quick)


@app.command()
def live(
    only: Annotated[list[str] | None, typer.Option(help="Question to ask; may be repeated.")] = (
        None
    ),
    json: Json = None,
    quick: Annotated[bool, typer.Option(help="Few rows, a moment: a check, no figures.")] = (False),
) -> None:
    """Live tables beside polling, NOTIFY and rows of a stream, and beside the server alone."""
    if quick:
        _mute()
    if json is not None:
        require_writable("--json FILE", json)
    from neural_gpu_bus.benchmarks.choosing import chosen
    from neural_gpu_bus.benchmarks.live import QUESTIONS, run_questions

    _ask(partial(run_questions, chosen(only or [], QUESTIONS, "question")), json, quick=quick)
