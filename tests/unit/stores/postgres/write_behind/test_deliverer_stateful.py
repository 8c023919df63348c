"""The deliverer against a plain model of a server: whatever fails in whatever order, every record
is stored once, in order, or set aside.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from neural_gpu_bus.errors import BadValueError, QueryTimeoutError, ServerUnreachableError
from neural_gpu_bus.stores.postgres.write_behind.backoff import LONGEST_S
from neural_gpu_bus.stores.postgres.write_behind.deliverer import Deliverer
from neural_gpu_bus.stores.postgres.write_behind.delivery import Batch, Delivered
from neural_gpu_bus.stores.postgres.write_behind.journal import Journal
from neural_gpu_bus.stores.postgres.write_behind.journal_folder import JournalFolder
from neural_gpu_bus.stores.postgres.write_behind.journal_writer import JournalWriter
from neural_gpu_bus.stores.postgres.write_behind.payload import encode_payload
from neural_gpu_bus.stores.postgres.write_behind.record_format import RecordMetadata, encode_body
from neural_gpu_bus.stores.postgres.write_behind.room import Room
from neural_gpu_bus.stores.postgres.write_behind.shelf import Shelf

TABLES = st.sampled_from(["a", "b"])
#: What the server refuses.
BAD = -1


class ModelServer:
    """Tables as lists, and the ledger, changed together or not at all."""

    def __init__(self) -> None:
        self.tables: dict[str, list[int]] = {"a": [], "b": []}
        self.ledger: dict[tuple[str, str], int] = {}
        self.away = False
        self.lose_answers = 0
        self.locked: set[str] = set()

    def deliver(self, batch: Batch) -> Delivered:
        if self.away:
            raise ServerUnreachableError("away", hint="", server="model", address="here")
        if batch.table in self.locked:
            raise QueryTimeoutError("locked", hint="", timeout_s=1)
        kept = self.ledger.get((batch.journal, batch.table), 0)
        if kept >= batch.first:
            return Delivered(kept, 0, "0/1")
        values = [value for table in batch.tables for value in table.column("n").to_pylist()]
        if BAD in values:
            raise BadValueError("bad", column="n", row=1)
        self.tables[batch.table] += values
        self.ledger[batch.journal, batch.table] = batch.last
        if self.lose_answers:
            self.lose_answers -= 1
            raise ServerUnreachableError("answer lost", hint="", server="model", address="here")
        return Delivered(batch.last, len(values), "0/1")


class Deliveries(RuleBasedStateMachine):
    """A process that stores, delivers, dies and is followed by another."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ngb-test-"))
        self.server = ModelServer()
        self.given: dict[str, list[int]] = {"a": [], "b": []}
        self.count = 0
        self.now_s = 0.0
        self.birth()

    def birth(self) -> None:
        room = Room(1 << 30)
        self.journals = JournalFolder(self.folder, room)
        self.shelf = Shelf()
        for journal in self.journals.take_over(set()):
            self.shelf.add(journal)
        self.own: Journal = self.journals.make()
        self.shelf.add(self.own)
        self.writer = JournalWriter(
            self.own, room, segment_bytes=2_000, on_durable=lambda: None, sync=lambda _: None
        )
        self.deliverer = Deliverer(
            self.shelf,
            self.server.deliver,
            self.journals.set_aside,
            clock=lambda: self.now_s,
            chance=random.Random(0),
        )

    def store(self, table: str, values: list[int]) -> None:
        metadata = RecordMetadata(table, "append", (), None, len(values), 0)
        payload = encode_payload(pa.table({"n": pa.array(values, pa.int64())}))
        self.writer.append(table, encode_body(metadata, payload, self.own.name))

    @rule(table=TABLES, rows=st.integers(1, 3), times=st.integers(1, 6))
    def store_good(self, table: str, rows: int, times: int) -> None:
        for _ in range(times):
            values = list(range(self.count, self.count + rows))
            self.count += rows
            self.store(table, values)
            self.given[table] += values

    @rule(table=TABLES)
    def store_bad(self, table: str) -> None:
        self.store(table, [self.count, BAD])

    @rule(turns=st.integers(1, 5))
    def deliver(self, turns: int) -> None:
        for _ in range(turns):
            self.deliverer.turn_all()
            self.now_s += LONGEST_S

    @rule()
    def go_away(self) -> None:
        self.server.away = True

    @rule()
    def come_back(self) -> None:
        self.server.away = False
        self.server.locked.clear()

    @rule(table=TABLES)
    def lock(self, table: str) -> None:
        self.server.locked.add(table)

    @rule(times=st.integers(1, 3))
    def lose_answers(self, times: int) -> None:
        self.server.lose_answers = times

    @rule()
    def die(self) -> None:
        """kill -9, and the next process takes over."""
        for journal in self.shelf.journals():
            journal.let_go()
        self.writer.forget()
        self.birth()

    @invariant()
    def nothing_is_there_twice_or_out_of_order(self) -> None:
        for table, stored in self.server.tables.items():
            assert stored == self.given[table][: len(stored)]

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        self.come_back()
        self.server.lose_answers = 0
        refused_before = self.deliverer.tally.refused
        for _ in range(200):
            if not self.shelf.tables():
                break
            self.deliver(1)
        assert self.server.tables == self.given
        assert self.deliverer.tally.refused >= refused_before
        assert all(one.rows == 2 for one in self.journals.set_aside.all())
        self.die()
        assert self.shelf.tables() == [] or self.redelivers_nothing()
        for journal in self.shelf.journals():
            journal.let_go()
        self.writer.forget()
        shutil.rmtree(self.folder)

    def redelivers_nothing(self) -> bool:
        """What a dead process had delivered and not yet removed is found in the ledger."""
        for _ in range(200):
            self.deliver(1)
        return self.server.tables == self.given and self.shelf.tables() == []


pytestmark = pytest.mark.slow

TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
