"""The cache over real memory and a database that counts: ages, forgetting, eviction, threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadParameterError, QueryError, QueryTimeoutError
from neural_gpu_bus.memory import Frame, UnifiedMemory
from neural_gpu_bus.query_cache import QueryCache
from neural_gpu_bus.query_cache.kept_results import QUERY_KEY
from neural_gpu_bus.query_cache.known_dependencies import ASKED_ANEW_NS, TRUSTED_NS
from neural_gpu_bus.query_cache.query_cache import IDENTITY_NS, KNOWN_MAX
from neural_gpu_bus.stores.postgres.dependencies.dependency_records import (
    Dependencies,
    FunctionDependency,
    RelationDependency,
)
from neural_gpu_bus.stores.postgres.dependencies.identity import Identity

SECOND_NS = 1_000_000_000
SCHEMA = pa.schema([pa.field("x", pa.int64(), nullable=False)])
#: More than a process keeps mapped for speed, so that it can be evicted.
VALUES_ROWS = 1_100_000
SQL = "SELECT x FROM numbers WHERE y = %s"


class CountingDatabase:
    """Answers each read with the next number."""

    def __init__(self, memory: UnifiedMemory) -> None:
        self.memory = memory
        self.reads = self.asked = self.checked = 0
        self.rows = 1
        self.whose = "ours"
        self.answer = Dependencies(
            (RelationDependency(1, "public.numbers", "table"),), (), (), (), "f"
        )
        self.holds = True
        self.meanwhile: Callable[[], object] = lambda: None

    def read(self, reserve: Any, _timeout_s: float | None) -> Frame:
        self.reads += 1
        number = self.reads
        self.meanwhile()
        reservation = (reserve or self.memory.reserve)(SCHEMA, self.rows)
        reservation.values("x")[:] = number
        frame: Frame = reservation.seal(reload_ns=5_000_000)
        return frame

    def dependencies(
        self, _sql: str, _params: Any = None, *, timeout_s: float | None = None
    ) -> Dependencies:
        del timeout_s
        self.asked += 1
        return self.answer

    def still_holds(self, _known: Dependencies) -> bool:
        self.checked += 1
        return self.holds

    def identity(self) -> Identity:
        return Identity(self.whose, plain_texts=True)


class Asker:
    """One process's cache, with a clock that is set by hand."""

    def __init__(self, memory: UnifiedMemory, folder: Path, **other: Any) -> None:
        self.now_ns = 1_000 * SECOND_NS
        self.database = CountingDatabase(memory)
        self.cache = QueryCache(
            memory,
            folder,
            lambda: self.database,
            **{
                "bytes_max": 1 << 20,
                "wait_timeout_s": 5,
                "clock_ns": lambda: self.now_ns,
            }
            | other,
        )

    def ask(
        self,
        freshness: Any,
        params: Any = (1,),
        sql: str = SQL,
        timeout_s: float | None = None,
        **other: Any,
    ) -> int:
        """The number that answers."""
        asked = {"freshness": freshness} | other
        found = self.cache.find(sql, params, **asked)
        if found is None:
            found = self.cache.load(self.database.read, sql, params, timeout_s=timeout_s, **asked)
        return int(found["x"][0])

    def later(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND_NS)


@pytest.fixture
def asker(memory: UnifiedMemory, memory_folder: Path) -> Asker:
    return Asker(memory, memory_folder)


def test_a_result_stays_for_as_long_as_was_said(asker: Asker) -> None:
    assert asker.ask(10) == 1
    asker.later(10)
    assert asker.ask(10) == 1
    asker.later(0.001)
    assert asker.ask(11) == 1
    assert asker.ask(10) == 2
    assert asker.database.asked == 1


def test_age_counts_from_before_the_statement_was_sent(asker: Asker) -> None:
    asker.database.meanwhile = lambda: asker.later(8)

    assert asker.ask(10) == 1
    assert asker.ask(8) == 1
    assert asker.ask(7.9) == 2


def test_zero_reads_now_and_keeps_it_for_others(asker: Asker) -> None:
    assert asker.ask("manual") == 1
    asker.later(1)
    assert asker.ask(0) == 2
    assert asker.ask("manual") == 2


def test_manual_stays_until_it_is_forgotten(asker: Asker) -> None:
    assert asker.ask("manual") == 1
    asker.later(10_000_000)
    assert asker.ask("manual") == 1

    assert asker.cache.forget("select x  from numbers where y = %s", [1]) == 1
    asker.later(0.001)
    assert asker.ask("manual") == 2
    assert asker.cache.forget(SQL, [7]) == 0
    assert asker.ask("manual") == 2


def test_forgetting_reaches_what_is_being_read(asker: Asker) -> None:
    asker.database.meanwhile = lambda: asker.cache.forget(SQL, (1,))

    assert asker.ask("manual") == 1
    asker.database.meanwhile = lambda: None
    asker.later(0.001)
    assert asker.ask("manual") == 2
    assert asker.ask("manual") == 2


def test_forgetting_reaches_it_however_it_was_read(asker: Asker) -> None:
    assert asker.ask("manual") == 1
    assert asker.ask("manual", numeric="float64") == 2
    assert asker.ask("manual", numeric={"x": "text"}, texts="plain") == 3

    assert asker.cache.forget(SQL, (1,)) == 3
    asker.later(1)
    assert asker.ask("manual", numeric="float64") == 4


def test_values_and_statements_have_results_of_their_own(asker: Asker) -> None:
    assert [asker.ask(10, (value,)) for value in (1, 1.0, True, "1")] == [1, 2, 3, 4]
    assert asker.ask(10, {"a": 1}) == 5
    assert asker.ask(10, sql="select X from NUMBERS where y = %s -- the same") == 1
    assert asker.database.asked == 5


def test_a_clock_that_goes_back_makes_nothing_older(asker: Asker) -> None:
    """The host's clock never does; a record that says so is not served for longer than ever."""
    assert asker.ask(10) == 1
    asker.later(-5)
    assert asker.ask(10) == 1
    asker.later(15.1)
    assert asker.ask(10) == 2


def test_an_evicted_result_is_a_miss(memory: UnifiedMemory, memory_folder: Path) -> None:
    asker = Asker(memory, memory_folder, bytes_max=1 << 30)
    asker.database.rows = VALUES_ROWS
    assert asker.ask("manual") == 1
    (name,) = memory.names()
    memory.drop(name)
    assert asker.ask("manual") == 2

    values = np.zeros(VALUES_ROWS)
    for at in range(8):  # as many fill the region
        memory.put(f"more{at}", {"x": values}, reload_ns=SECOND_NS)
    assert name not in memory.names()
    assert asker.ask("manual") == 3


def test_one_version_of_a_result_is_kept(asker: Asker, memory: UnifiedMemory) -> None:
    for _ in range(4):
        asker.ask(0)
        asker.later(1)

    assert len(memory.names()) == 1
    assert memory.statistics().blocks == 1


def test_what_must_not_be_kept_is_read_each_time(asker: Asker, memory: UnifiedMemory) -> None:
    asker.database.answer = Dependencies(not_kept=("random() is VOLATILE",))

    assert [asker.ask(1000), asker.ask("manual")] == [1, 2]
    assert memory.names() == []
    assert asker.cache.statistics().not_kept == 2
    assert asker.ask("manual", [object()]) == 3


def test_a_result_that_is_too_large_is_answered_and_not_kept(
    memory: UnifiedMemory, memory_folder: Path
) -> None:
    asker = Asker(memory, memory_folder, bytes_max=100_000)
    asker.database.rows = 20_000

    assert [asker.ask("manual"), asker.ask("manual")] == [1, 2]
    assert memory.names() == []
    assert "larger than the 100,000 bytes" in asker.cache.explain(SQL, (1,)).not_resident
    asker.later(61)
    asker.database.rows = 1
    assert [asker.ask("manual"), asker.ask("manual")] == [3, 3]


def test_a_block_that_answers_another_query_is_no_answer(
    asker: Asker, memory: UnifiedMemory
) -> None:
    asker.ask("manual")
    (name,) = memory.names()
    for metadata in ({QUERY_KEY: b'{"key":"other","taken_ns":1}'}, {QUERY_KEY: b"{"}, {}):
        reservation = memory.reserve(SCHEMA.with_metadata(metadata), 1)
        reservation.values("x")[:] = 77
        reservation.seal_reserved(name)

        assert asker.ask("manual") != 77


def test_an_error_is_kept_for_nobody(asker: Asker) -> None:
    def fail() -> None:
        raise QueryError("no such table", sqlstate="42P01")

    asker.database.meanwhile = fail
    for _ in range(2):
        with pytest.raises(QueryError, match="no such table"):
            asker.ask("manual")
    asker.database.meanwhile = lambda: None

    assert asker.ask("manual") == 3


def test_dependencies_are_looked_after(asker: Asker) -> None:
    database = asker.database
    asker.ask(0)
    asker.later(TRUSTED_NS / SECOND_NS)
    asker.ask(0)
    assert (database.asked, database.checked) == (1, 1)

    asker.later(TRUSTED_NS / SECOND_NS)
    database.holds = False
    asker.ask(0)
    assert (database.asked, database.checked) == (2, 2)

    asker.later(ASKED_ANEW_NS / SECOND_NS)
    database.holds = True
    asker.ask(0)
    assert (database.asked, database.checked) == (3, 2)


def test_a_table_that_is_being_altered_is_read_and_not_kept(asker: Asker) -> None:
    def slow(*_arguments: Any, **_others: Any) -> Dependencies:
        raise QueryTimeoutError("slow", timeout_s=5)

    asker.database.dependencies = slow  # type: ignore[method-assign]

    assert [asker.ask(10), asker.ask(10)] == [1, 2]


def test_another_server_behind_the_address_has_its_own_results(asker: Asker) -> None:
    assert asker.ask("manual") == 1
    asker.database.whose = "theirs"
    asker.later(IDENTITY_NS / SECOND_NS)
    assert asker.ask("manual") == 1  # found without asking the server

    assert asker.ask("manual", (2,)) == 2  # asks, and hears of it
    assert asker.ask("manual") == 3


def test_what_a_process_knows_is_bounded(asker: Asker) -> None:
    for value in range(KNOWN_MAX + 10):
        asker.cache.find(SQL, (value,), freshness=1)

    assert len(asker.cache._known) <= KNOWN_MAX


def test_threads_that_miss_at_once_read_once(asker: Asker) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert go_on.wait(10)

    asker.database.meanwhile = wait
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(asker.ask("manual"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)

    assert answers == [1] * 8
    assert asker.database.reads == 1
    statistics = asker.cache.statistics()
    assert statistics.loads == 1
    assert statistics.hits + statistics.waits == 7


def test_a_read_that_began_too_early_is_no_answer(asker: Asker) -> None:
    """Who wants data as of now takes the turn after the one who reads, and reads again."""
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert go_on.wait(10)

    asker.database.meanwhile = wait
    answers: list[int] = []
    first = threading.Thread(target=lambda: answers.append(asker.ask("manual")))
    first.start()
    assert begun.wait(10)
    asker.later(1)
    others = [threading.Thread(target=lambda: answers.append(asker.ask(0))) for _ in range(3)]
    for thread in others:
        thread.start()
    go_on.set()
    for thread in (first, *others):
        thread.join(10)

    assert sorted(answers) == [1, 2, 2, 2]
    assert asker.database.reads == 2


def test_who_waits_too_long_is_told_for_whom(asker: Asker) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert go_on.wait(10)

    asker.database.meanwhile = wait
    first = threading.Thread(target=lambda: asker.ask("manual"))
    first.start()
    assert begun.wait(10)
    try:
        with pytest.raises(QueryTimeoutError, match=r"another thread .* reading .* in 0.02 s"):
            asker.ask("manual", timeout_s=0.02)
        asker.database.meanwhile = lambda: None
        assert asker.ask("manual", (2,)) == 2  # another query is not waited for
    finally:
        go_on.set()
        first.join(10)


@pytest.mark.parametrize("freshness", ["live", None, -1, "ttl"])
def test_a_freshness_that_says_nothing_is_refused(asker: Asker, freshness: Any) -> None:
    with pytest.raises(BadParameterError, match="freshness is"):
        asker.cache.find(SQL, (1,), freshness=freshness)


def test_an_explanation_says_why(asker: Asker) -> None:
    asker.database.answer = Dependencies(
        (RelationDependency(1, "public.numbers", "table"),),
        (FunctionDependency(2, "f(integer)", "stable"),),
        (),
        ("f(integer) is STABLE and written in plpgsql",),
        "f",
    )
    before = asker.cache.explain(SQL, (1,))
    asker.ask("manual")
    asker.later(2)
    asker.ask("manual")
    after = asker.cache.explain("SELECT  X from numbers where y = %s", (1,))

    assert not before.resident
    assert "not read with a freshness yet" in str(before)
    assert after.resident
    assert (after.age_s, after.rows, after.load_s) == (2.0, 1, 0.005)
    assert after.kept
    assert str(after).splitlines() == [
        "statement   select x from numbers where y = %s",
        "kept        yes, where a freshness is given",
        "live        no: f(integer) is STABLE and written in plpgsql",
        "depends on  table public.numbers",
        "            f(integer), stable",
        f"in memory   1 rows, 0.0 MiB, read 2.0 s ago in 5.0 ms, found {after.hits} times, as "
        f"{after.dataset!r}",
        "served      from memory with freshness=2.0 or more, or 'manual'; read anew with less, or "
        "without one",
    ]


def test_an_explanation_is_no_find(asker: Asker) -> None:
    for _ in range(3):
        asker.ask("manual")
    told = [asker.cache.explain(SQL, (1,)) for _ in range(3)]

    assert [one.hits for one in told] == [told[0].hits] * 3
    assert told[0].resident


def test_an_explanation_of_what_is_never_kept(asker: Asker) -> None:
    asker.database.answer = Dependencies(not_kept=("random() is VOLATILE",))

    told = str(asker.cache.explain(SQL, (1,))).splitlines()
    assert told[1:3] == [
        "kept        no: random() is VOLATILE",
        "live        no: it is never kept",
    ]
    unknown = asker.cache.explain(SQL, [object()])
    assert "parameter 1 is a builtins.object" in unknown.not_kept[0]
    assert unknown.dataset == ""
