"""A block as a source of frames: made without a look at its columns, and wary of its descriptor."""

import gc
from binascii import a2b_base64, b2a_base64
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.descriptors import BlockDescriptor
from neural_gpu_bus.errors import HostError, ProtocolError
from neural_gpu_bus.memory import Frame, UnifiedMemory
from neural_gpu_bus.memory.frames import block_source
from neural_gpu_bus.memory.frames.block_source import BlockSource, attach_block

COLUMNS: dict[str, Any] = {
    "x": np.arange(10),
    "t": pa.array(["a", None] * 5),
    "list": pa.array([[1], None] * 5),
}


@pytest.fixture
def block(memory: UnifiedMemory) -> BlockDescriptor:
    return memory.put("bars", COLUMNS).descriptor


def test_attaching_looks_at_no_column(
    memory: UnifiedMemory, block: BlockDescriptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    found = block_source.column_spans
    monkeypatch.setattr(
        block_source, "column_spans", lambda *given: looks.append(given[2]) or found(*given)
    )
    frame = Frame(attach_block(memory.folder, block))
    part = frame[["x", "t"]][2:]
    assert looks == []

    assert part["x"].tolist() == frame["x"][2:].tolist() == list(range(2, 10))
    assert looks == ["x"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda spans: spans[:20], "column 'x' is not told of: unpack_from requires"),
        (lambda spans: b"\x7f" * len(spans), "column 'x' lies at .* with .* bytes"),
        (lambda spans: b"\xff" * len(spans), "column 'x' lies at -1 with -1 bytes"),
    ],
)
def test_positions_outside_the_block_are_an_error(
    memory: UnifiedMemory, block: BlockDescriptor, change: Any, says: str
) -> None:
    wrong = msgspec.structs.replace(
        block, spans=b2a_base64(change(a2b_base64(block.spans))).decode()
    )
    source = attach_block(memory.folder, wrong)
    with pytest.raises(ProtocolError, match=rf"{says}.*\n?.*hint: get the dataset by name again"):
        source.column("x")


class _List:
    """In place of the process's own list of what it has mapped."""

    def __init__(self) -> None:
        self.stands = 0

    def add(self, *_: Any) -> "_List":
        self.stands += 1
        return self

    def end(self) -> None:
        self.stands -= 1


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> _List:
    own = _List()
    monkeypatch.setattr(block_source, "list_mapping", own.add)
    return own


def test_a_mapping_that_fails_stands_on_no_list(
    memory: UnifiedMemory, block: BlockDescriptor, listed: _List, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise HostError("mapping failed: Cannot allocate memory", hint="hold fewer frames")

    monkeypatch.setattr(block_source, "FileMapping", fail)
    with pytest.raises(HostError, match="mapping failed"):
        attach_block(memory.folder, block)

    assert listed.stands == 0


def test_every_mapping_is_on_the_list_while_it_lasts(
    memory: UnifiedMemory, block: BlockDescriptor, listed: _List
) -> None:
    source = attach_block(memory.folder, block)
    private = source.private()
    assert listed.stands == 2

    del source, private
    gc.collect()
    assert listed.stands == 0


def test_private_pages_keep_a_block_without_a_name(memory: UnifiedMemory) -> None:
    frame = memory.share({"x": np.arange(10)})
    file = memory.folder / frame.descriptor.path
    assert isinstance(frame.source, BlockSource)
    private = frame.source.private()
    values = private.column("x").values
    del frame, private
    gc.collect()

    assert file.exists()
    values[0] = 1
    del values
    gc.collect()
    assert not file.exists()
