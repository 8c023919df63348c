"""See the decoder's: a compiled loop is kept until its own file changes, so the file names what is
compiled into it from others by a digest.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import neural_gpu_bus

PACKAGE = Path(neural_gpu_bus.__file__).parent
LOOPS = PACKAGE / "live" / "applying" / "few_kernels.py"
#: What is compiled into them.
PARTS = (
    "live/applying/net_effect_kernels.py",
    "memory/series/addresses.py",
    "memory/series/few_rows_kernels.py",
    "memory/series/few_updates_kernels.py",
    "memory/series/finding_kernels.py",
    "memory/series/kernels.py",
    "stores/postgres/replication/prepared_kernels.py",
)


def test_loops_for_few_rows_change_with_what_is_compiled_into_them() -> None:
    whole = b"".join((PACKAGE / part).read_bytes() for part in PARTS)
    digest = hashlib.sha256(whole).hexdigest()[:16]
    found = re.search(r'(?m)^COMPILED_WITH = "(.+)"$', LOOPS.read_text())

    assert found is not None
    assert found[1] == digest, f'write COMPILED_WITH = "{digest}"'
