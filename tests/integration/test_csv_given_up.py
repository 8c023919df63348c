"""A file that is given up half-way is still being read ahead: the process ends by its own code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GIVEN_UP = """
import sys
from pathlib import Path
from neural_gpu_bus.stores.files import open_file

batches = open_file(Path(sys.argv[1])).read({}).batches()
next(batches)
sys.exit(3)
"""


def test_a_process_that_gives_a_file_up_ends_by_its_own_code(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_bytes(b"a,b\n" + b"1,2\n" * 10_000_000)  # it aborted in 5 of 6 runs

    codes = [
        subprocess.run([sys.executable, "-c", GIVEN_UP, str(path)], timeout=60).returncode
        for _ in range(2)
    ]

    assert codes == [3, 3]
