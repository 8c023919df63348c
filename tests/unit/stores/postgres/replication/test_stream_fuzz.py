"""Streams cut at every byte, with flipped bytes, in pieces: what the plain twin reads, or an error
where it errs; never a crash, never another value. Bytes of a real server and made-up ones.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

import stream_bytes as made
from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.replication import pgoutput
from neural_gpu_bus.stores.postgres.replication.transaction_reader import TransactionReader
from neural_gpu_bus.stores.postgres.replication.transactions import RowChanges, Transaction
from plain_pgoutput import MalformedError, PlainStream, PlainTransaction, plain_stream
from read_tuples import tuples

#: Of PostgreSQL 18: tables of every kind of change, see test_replication_stream.py.
CORPUS = Path(__file__).parents[4] / "corpus" / "replication_stream.bin"
SEED = int(os.environ.get("NGB_TEST_SEED", random.randrange(1 << 32)))
FLIPS = (0x01, 0x80, 0xFF)

#: Seen by change, by relation: what the order between relations is, nobody promises.
Seen = list[tuple[int, int, int, dict[int, list[Any]], list[Any]]]


class Read:
    """Everything that a reader hands out, taken as it comes."""

    def __init__(self) -> None:
        self.reader = TransactionReader(ReceiveBuffer(1 << 22))
        self.seen: Seen = []
        self.keepalive_lsn = self.messages = 0

    def put(self, stream: bytes) -> None:
        buffer = self.reader.walk.buffer
        self.reader.forget()
        buffer.view[buffer.stop : buffer.stop + len(stream)] = stream
        buffer.stop += len(stream)
        self.reader.walk.advance()
        if self.reader.has_whole:
            batch = self.reader.take()
            self.seen += [_seen(found) for found in batch.transactions]
            self.keepalive_lsn = batch.keepalive_lsn or self.keepalive_lsn
            self.messages += len(batch.messages)


def _seen(found: Transaction) -> tuple[int, int, int, dict[int, list[Any]], list[Any]]:
    changes: dict[int, list[Any]] = {}
    others = []
    for step in found.steps:
        if isinstance(step, RowChanges):
            rows = zip(
                step.kinds.tolist(),
                tuples(step, "new"),
                step.old_kinds.tolist(),
                tuples(step, "old"),
                strict=True,
            )
            changes.setdefault(step.relation.oid, []).extend(rows)
        else:
            others.append(step)
    return found.xid, found.final_lsn, found.end_lsn, changes, others


def expected(stream: PlainStream) -> tuple[Seen, int, int]:
    """The same by the twin. Raises ProtocolError for what only the messages' own readers see."""
    known: set[int] = set()
    seen, messages = [], 0
    for found in stream.transactions:
        changes, others, outside = _expected_steps(found, known)
        messages += outside
        seen.append((found.xid, found.final_lsn, found.end_lsn, changes, others))
    for body in stream.messages:
        pgoutput.read_message(body)
    return seen, stream.keepalive_lsn, messages + len(stream.messages)


def _expected_steps(
    found: PlainTransaction, known: set[int]
) -> tuple[dict[int, list[Any]], list[Any], int]:
    changes: dict[int, list[Any]] = {}
    others: list[Any] = []
    messages = 0
    for letter, *rest in found.events:
        if letter in "IUD":
            oid, new, old_letter, old = rest
            if oid not in known:
                raise ProtocolError("not described", position=0)
            row = (ord(letter), _values(new), ord(old_letter or "\0"), _values(old))
            changes.setdefault(oid, []).append(row)
        elif letter == "R":
            others.append(pgoutput.read_relation(rest[0]))
            known.add(others[-1].oid)
        elif letter == "T":
            others.append(pgoutput.read_truncate(rest[0]))
        elif letter == "M":
            message = pgoutput.read_message(rest[0])
            if message.transactional:
                others.append(message)
            messages += not message.transactional
        else:
            (pgoutput.read_origin if letter == "O" else pgoutput.read_type)(rest[0])
    return changes, others, messages


def _values(found: list[tuple[str, bytes]] | None) -> list[Any] | None:
    if found is None:
        return None
    return [{"n": None, "u": "u"}.get(letter, value) for letter, value in found]


def check(stream: bytes, pieces: list[bytes] | None = None) -> bool:
    """Whether both read it, the same; false where both err."""
    try:
        wanted = expected(plain_stream(stream))
    except (MalformedError, ProtocolError):
        wanted = None
    read = Read()
    try:
        for piece in pieces or [stream]:
            read.put(piece)
    except ProtocolError:
        assert wanted is None
        return False
    assert wanted is not None
    assert (read.seen, read.keepalive_lsn, read.messages) == wanted
    return True


def made_up(rng: random.Random) -> bytes:
    """A stream of a few transactions with everything in it."""
    oids = [rng.randrange(1, 1 << 32) for _ in range(3)]
    columns = [(f"c{place}", rng.choice([20, 25]), place == 0) for place in range(4)]
    stream, lsn = b"", 1000
    for _ in range(rng.randrange(1, 5)):
        lsn += rng.randrange(1, 1000)
        stream += rng.choice([b"", made.keepalive(lsn - 1), made.keepalive(lsn - 1, reply=True)])
        stream += made.begin(lsn, rng.randrange(1 << 32), rng.randrange(1 << 40))
        stream += b"".join(made.relation(oid, "t", columns[: rng.randrange(5)]) for oid in oids)
        for _ in range(rng.randrange(12)):
            stream += _made_up_message(rng, oids)
        stream += made.commit(lsn)
    return stream


def _made_up_message(rng: random.Random, oids: list[int]) -> bytes:
    oid, kind = rng.choice(oids), rng.choice([b"K", b"O"])
    values = [_made_up_value(rng) for _ in range(rng.randrange(5))]
    old = [_made_up_value(rng) for _ in range(rng.randrange(5))]
    return rng.choice(
        [
            made.insert(oid, values),
            made.update(oid, values),
            made.update(oid, values, old, kind),
            made.delete(oid, old, kind),
            made.truncate(oids, rng.randrange(4)),
            made.logical_message("p", b"c", transactional=rng.random() < 0.5),
            made.origin("o"),
            made.named_type(oid, "n"),
            made.keepalive(1),
        ]
    )


def _made_up_value(rng: random.Random) -> made.Value:
    return rng.choice([None, ..., "text", b"", rng.randbytes(rng.randrange(20))])


@pytest.fixture
def rng() -> random.Random:
    print(f"NGB_TEST_SEED={SEED}")
    return random.Random(SEED)


def test_real_bytes_in_any_pieces(rng: random.Random) -> None:
    stream = CORPUS.read_bytes()

    assert check(stream)
    for _ in range(30):
        places = sorted(rng.randrange(len(stream)) for _ in range(rng.randrange(20)))
        borders = zip([0, *places], [*places, len(stream)], strict=True)
        assert check(stream, [stream[first:end] for first, end in borders])


def test_real_bytes_cut_anywhere() -> None:
    stream = CORPUS.read_bytes()

    for cut in range(0, len(stream), 7):
        assert check(stream[:cut])


def test_flipped_bytes_of_a_real_stream(rng: random.Random) -> None:
    stream = CORPUS.read_bytes()

    readable = 0
    for place in range(0, len(stream), 3):
        bent = bytearray(stream)
        bent[place] ^= rng.choice(FLIPS)
        readable += check(bytes(bent))
    assert 0 < readable < len(stream) // 3


def test_made_up_streams(rng: random.Random) -> None:
    for _ in range(150):
        stream = made_up(rng)
        assert check(stream)
        for _ in range(10):
            bent = bytearray(stream)
            for _ in range(rng.randrange(1, 4)):
                bent[rng.randrange(len(bent))] = rng.randrange(256)
            check(bytes(bent))
        cut = rng.randrange(len(stream))
        check(stream[:cut] + stream[cut + rng.randrange(9) :])
