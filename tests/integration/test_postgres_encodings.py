"""Databases that are not in UTF-8: text is converted exactly, or refused by name."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from neural_gpu_bus.errors import BadValueError, QueryError
from neural_gpu_bus.memory import UnifiedMemory
from own_server import OwnServer
from watched_store import WatchedStore, watched_store


@contextmanager
def database(server: OwnServer, encoding: str, memory: UnifiedMemory) -> Iterator[WatchedStore]:
    name = f"encoded_{uuid.uuid4().hex[:12]}"
    server.run(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    with watched_store(server.dsn(name), memory) as watched:
        yield watched
    server.run(f"DROP DATABASE {name}")


def test_latin1_is_converted_both_ways(failing_server: OwnServer, memory: UnifiedMemory) -> None:
    with database(failing_server, "LATIN1", memory) as watched:
        watched.store.store("words", {"word": ["Straße", "naïve", ""]}, job_id="one")

        found = watched.store.query("SELECT word, %s AS given FROM words", ["Größe"])

        assert found.arrow()["word"].to_pylist() == ["Straße", "naïve", ""]
        assert found.arrow()["given"].to_pylist() == ["Größe"] * 3


def test_what_latin1_lacks_is_refused(failing_server: OwnServer, memory: UnifiedMemory) -> None:
    with database(failing_server, "LATIN1", memory) as watched:
        watched.store.store("words", {"word": ["a"]})
        lacking = r'has no equivalent in encoding "LATIN1"'
        with pytest.raises(BadValueError, match=r"^row 2, column 'word': .*" + lacking):
            watched.store.store("words", {"word": ["a", "5 €"]})
        with pytest.raises(QueryError, match=lacking + r"\nhint: .* has no such character"):
            watched.store.query("SELECT %s AS t", ["5 €"])
        assert watched.store.query("SELECT word FROM words").rows == 1
        watched.assert_answers()


def test_bytes_that_are_no_utf8_are_refused_by_name(
    failing_server: OwnServer, memory: UnifiedMemory
) -> None:
    """SQL_ASCII takes any bytes and converts none."""
    with database(failing_server, "SQL_ASCII", memory) as watched:
        with psycopg.connect(watched.direct_dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE words (n int, word text)")
            connection.execute("INSERT INTO words VALUES (1, 'right'), (2, E'wr\\xffong')")

        assert watched.store.query("SELECT word FROM words WHERE n = 1").rows == 1
        with pytest.raises(QueryError, match=r"encoding \"UTF8\": 0xff\nhint: .* convert_to"):
            watched.store.query("SELECT n, word FROM words ORDER BY n")
        raw = watched.store.query("SELECT convert_to(word, 'SQL_ASCII') AS word FROM words")
        assert raw.arrow()["word"].to_pylist() == [b"right", b"wr\xffong"]

        watched.store.store("more", {"word": ["Straße", "5 €"]})
        found = watched.store.query("SELECT word FROM more")
        assert found.arrow()["word"].to_pylist() == ["Straße", "5 €"]
        watched.assert_answers()
