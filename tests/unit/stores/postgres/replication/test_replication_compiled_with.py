"""See the decoder's: a compiled loop is kept until its own file changes, so the file names what is
compiled into it from others by a digest.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from neural_gpu_bus.stores.postgres import replication

FOLDER = Path(replication.__file__).parent
WORDS = FOLDER.parent / "wire" / "machine_words.py"
#: Loops -> files with what is compiled into them.
PARTS = {
    "stream_kernels": [WORDS],
    "tuple_kernels": [WORDS],
    "key_kernels": [WORDS, FOLDER / "tuple_kernels.py"],
    "receiving_kernels": [
        FOLDER.parent / "reading" / "exchange" / "receive_buffer.py",
        FOLDER / "stream_kernels.py",
    ],
    "prepared_kernels": [
        WORDS,
        *(FOLDER.parent / "decoding" / f"{name}.py" for name in ("layouts", "copy_kernels")),
        FOLDER / "tuple_kernels.py",
    ],
}


def digest(files: list[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


@pytest.mark.parametrize("name", list(PARTS))
def test_a_loop_changes_with_what_is_compiled_into_it(name: str) -> None:
    found = re.search(r'(?m)^COMPILED_WITH = "(\w+)"$', (FOLDER / f"{name}.py").read_text())

    assert found is not None
    assert found[1] == digest(PARTS[name]), f'write COMPILED_WITH = "{digest(PARTS[name])}"'
