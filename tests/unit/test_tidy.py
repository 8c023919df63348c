"""The shape of the code: small pieces, whole words, no junk drawers, light imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import neural_gpu_bus

SOURCE = Path(neural_gpu_bus.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
#: Names that say nothing about what is inside.
JUNK_DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc"}
#: Loaded only inside the file that needs them.
HEAVY = ("torch", "cupy", "mlx", "onnxruntime", "ray", "duckdb", "polars", "pandas", "numba")
IMPORT_S_MAX = 0.3
#: What a plane imports with the first question that needs it.
WHEN_NEEDED = ("numba", "scipy", "pandas", "polars", "psycopg", "pyarrow.compute")


def relative(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_files_and_functions_are_small(path: Path) -> None:
    text = path.read_text()
    functions = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    long_functions = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in functions
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > 60
    ]

    assert text.count("\n") <= 400
    assert long_functions == []


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert path.stem not in JUNK_DRAWERS


def test_importing_the_package_loads_no_heavy_library() -> None:
    program = (
        "import sys, neural_gpu_bus; neural_gpu_bus.errors; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )

    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "[]"


def test_the_plane_loads_no_compiled_loops() -> None:
    """Their library looks for its cache's folder once, when it is imported: the plane names it.
    And others that no plane needs before it is asked for something.
    """
    program = (
        "import sys, neural_gpu_bus.plane; "
        f"print([name for name in {WHEN_NEEDED!r} if name in sys.modules])"
    )

    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "[]"


@pytest.mark.slow
def test_importing_the_package_is_quick() -> None:
    """The best of five, because other work on the machine only ever adds time."""
    program = (
        "import time; started = time.perf_counter(); import neural_gpu_bus; "
        "print(time.perf_counter() - started)"
    )

    times_s = [
        float(
            subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(5)
    ]

    assert min(times_s) < IMPORT_S_MAX


def test_unit_tests_do_not_sleep() -> None:
    sleepers = [
        path.name
        for path in (Path(__file__).parent).rglob("test_*.py")
        if "sleep(" in path.read_text() and path.name != Path(__file__).name
    ]

    assert sleepers == []


TESTS = Path(__file__).parent.parent


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.name)
def test_every_expected_error_is_matched_by_its_message(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]

    unmatched = [
        call.lineno
        for call in calls
        if ast.unparse(call.func) == "pytest.raises"
        and "match" not in {keyword.arg for keyword in call.keywords}
    ]

    assert unmatched == []
