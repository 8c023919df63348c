"""numba keeps a compiled loop until its own file changes: what is compiled into it from other files
is named there by a digest, so that a change of theirs changes the file too.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from neural_gpu_bus.memory import series

FOLDER = Path(series.__file__).parent
#: Loops -> files with what is compiled into them.
PARTS = {
    "weaving_kernels": ("addresses", "kernels"),
    "few_rows_kernels": ("addresses", "clock", "directory", "kernels"),
    "filling_kernels": ("addresses", "kernels"),
    "few_updates_kernels": ("addresses", "finding_kernels", "kernels", "weaving_kernels"),
    "finding_kernels": ("addresses", "kernels", "weaving_kernels"),
}


def digest(names: tuple[str, ...]) -> str:
    whole = b"".join((FOLDER / f"{name}.py").read_bytes() for name in names)
    return hashlib.sha256(whole).hexdigest()[:16]


@pytest.mark.parametrize("name", list(PARTS))
def test_a_loop_of_series_changes_with_what_is_compiled_into_it(name: str) -> None:
    found = re.search(r'(?m)^COMPILED_WITH = "(\w+)"$', (FOLDER / f"{name}.py").read_text())

    assert found is not None
    assert found[1] == digest(PARTS[name]), f'write COMPILED_WITH = "{digest(PARTS[name])}"'
