"""Take pictures of a demo's page as a phone and a desktop show it, light and dark.

    python tools/look_at_report.py results.json FOLDER

It renders the page from the record, so that the page can be worked on without measuring again. It
needs a Chromium in the path.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from neural_gpu_bus.benchmarks.report.page import render
from neural_gpu_bus.benchmarks.results import from_json

#: Name -> width and height in CSS pixels.
SCREENS = {
    "phone": (390, 6800),
    "small": (360, 7000),
    "desktop": (1280, 4600),
    "wide": (1600, 4600),
}


def main(results: Path, folder: Path) -> None:
    """Write page.html and one picture a screen and theme into the folder."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no chromium in the path")
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "page.html"
    page.write_text(render(from_json(results.read_bytes())), encoding="utf-8")
    for screen, (width, height) in SCREENS.items():
        for theme in ("light", "dark"):
            subprocess.run(
                [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                 f"--window-size={width},{height}", "--virtual-time-budget=500",
                 f"--screenshot={folder / f'{screen}-{theme}.png'}",
                 f"{page.resolve().as_uri()}?theme={theme}"],
                check=True, capture_output=True,
            )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
