"""Reference pages say what the code says; links lead somewhere."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import neural_gpu_bus as ngb

ROOT = Path(__file__).parent.parent.parent
PYTHON_PAGE = (ROOT / "docs" / "reference" / "python.md").read_text()


@pytest.fixture(scope="module")
def make_reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools/make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "page",
    [
        "python.md",
        "frames.md",
        "settings.md",
        "errors.md",
        "commands.md",
        "workloads.md",
        "../data-path.svg",
    ],
)
def test_a_page_is_what_its_maker_writes(make_reference: ModuleType, page: str) -> None:
    """If this fails, run tools/make_reference.py."""
    written = (ROOT / "docs" / "reference" / page).read_text()

    assert written == make_reference.PAGES[page]()


@pytest.mark.parametrize("name", sorted({*ngb.__all__} - {"__version__", "errors", "open"}))
def test_what_users_are_handed_is_on_the_page(name: str) -> None:
    assert name == "Settings" or f"\n## {name}\n" in PYTHON_PAGE


@pytest.mark.parametrize("module", ["neural_gpu_bus.stores.postgres.decoding"])
def test_codecs_for_ones_own_connection_are_on_the_page(module: str) -> None:
    for name in importlib.import_module(module).__all__:
        assert f"\n## {name}\n" in PYTHON_PAGE


@pytest.mark.parametrize("name", [name for name in dir(ngb.DataPlane) if not name.startswith("_")])
def test_each_public_name_of_a_plane_is_on_the_page(name: str) -> None:
    part = PYTHON_PAGE.split("\n## DataPlane\n")[1].split("\n## ")[0]

    assert f"\n### .{name}()\n" in part or f"\n### .{name}\n" in part


def test_what_is_for_the_package_is_not_on_the_page() -> None:
    for name in ("window", "arrow_column", "private", "tables_of", "all_slots", "finish"):
        assert f"### .{name}()" not in PYTHON_PAGE.split("\n## encode_copy\n")[0]


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    dead = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in local_links(page.read_text())
        if not (page.parent / target).exists()
    ]

    assert dead == []


def test_no_page_has_a_place_left_open() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    open_places = [
        f"{page.relative_to(ROOT)}: {line}"
        for page in pages
        for line in page.read_text().splitlines()
        if re.fullmatch(r"[A-Z_]{6,}", line.strip())
    ]

    assert open_places == []


def local_links(text: str) -> list[str]:
    """Targets of Markdown links and pictures that are files here."""
    parts = text.split("](")[1:]
    targets = [part.split(")")[0].split("#")[0] for part in parts]
    return [target for target in targets if target and "://" not in target]
