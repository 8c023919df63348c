"""numba keeps a compiled loop until its own file changes. What is compiled into it from other files
is named there by a digest, so that a change of theirs changes the file too: a loop from before with
numbers from after would read memory that is not its own.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from neural_gpu_bus.stores.postgres import decoding

FOLDER = Path(decoding.__file__).parent
WIRE = FOLDER.parent / "wire"
VALUES = [FOLDER / f"{name}.py" for name in ("value_kernels", "numeric_kernels", "text_kernels")]
SHARED = [FOLDER / "layouts.py", WIRE / "machine_words.py", WIRE / "types.py"]
#: Loops -> files with what is compiled into them.
PARTS = {
    "copy_kernels": [*SHARED, *VALUES, FOLDER / "hash_kernels.py"],
    "cell_kernels": [*SHARED, *VALUES],
    "hash_kernels": SHARED,
    "spreading_kernels": [*SHARED, *VALUES],
}


def digest(files: list[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


@pytest.mark.parametrize("name", list(PARTS))
def test_a_loop_changes_with_what_is_compiled_into_it(name: str) -> None:
    found = re.search(r'(?m)^COMPILED_WITH = "(\w+)"$', (FOLDER / f"{name}.py").read_text())

    assert found is not None
    assert found[1] == digest(PARTS[name]), f'write COMPILED_WITH = "{digest(PARTS[name])}"'
