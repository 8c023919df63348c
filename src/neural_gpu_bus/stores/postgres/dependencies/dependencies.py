"""What a statement's result depends on, as the server itself reads the statement.

The statement becomes a temporary view in a transaction that is rolled back; the view's rule holds
the parse tree with the OID of every table and function. Views, row security, partitions and SQL
functions with a parsed body are followed. EXPLAIN would name what is left after planning: no
function that was folded or inlined, none below LIMIT, and no volatility.

A standby takes no view. There everything counts that the statement's words could name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Protocol

import psycopg
from psycopg.pq import ExecStatus

from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.dependencies.dependency_records import (
    Dependencies,
    FunctionDependency,
    Gathered,
    RelationDependency,
    Volatility,
)
from neural_gpu_bus.stores.postgres.dependencies.parse_tree import read_tree
from neural_gpu_bus.stores.postgres.dependencies.possible_names import possible_names
from neural_gpu_bus.stores.postgres.reading.parameter_values import Params
from neural_gpu_bus.stores.postgres.reading.statement import bound

#: Objects with lower OIDs are part of PostgreSQL (source: access/transam.h, FirstNormalObjectId).
FIRST_USER_OID = 16_384
#: Views in views, functions in functions; what lies deeper is not kept.
DEPTH_MAX = 32
#: Tables, partitions and functions of one statement; with more it is not kept.
OBJECTS_MAX = 20_000
#: Parsing takes a millisecond; waiting behind ALTER TABLE could take for ever.
ASK_TIMEOUT_S = 5.0

_VOLATILITIES: dict[str, Volatility] = {"i": "immutable", "s": "stable", "v": "volatile"}
_KINDS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
    "S": "sequence",
}
#: STABLE for the sake of TimeZone and DateStyle alone, which are the same in every session here:
#: arithmetic, comparisons and casts between moments.
_BY_SETTINGS = re.compile(
    r"(?:date|timestamp|timestamptz)_(?:lt|le|eq|ne|ge|gt|cmp)_(?:date|timestamp|timestamptz)"
    r"|timestamptz_(?:pl|mi)_interval|in_range_timestamptz_interval"
    r"|(?:date|timestamp)_timestamptz|timestamptz_(?:date|time|timetz|timestamp|at_local)"
    r"|timestamptz_(?:trunc|part|to_char)|extract_timestamptz|generate_series_timestamptz"
    r"|make_timestamptz"
)
#: Texts that PostgreSQL reads as a moment of today, at parse time: ``ts > 'today'``.
_MOMENT_TEXT = re.compile(rb"\b(?:now|today|tomorrow|yesterday)\b(?!\s*\()", re.IGNORECASE)

_VIEW = b"CREATE TEMP VIEW ngb_dependencies AS SELECT 1 AS one FROM (\n%b\n) AS statement"
_TREE_SQL = """
SELECT ev_class::int8, ev_action::text FROM pg_rewrite
WHERE ev_class = 'pg_temp.ngb_dependencies'::regclass
"""
_RELATIONS_SQL = """
SELECT c.oid::int8, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind::text,
  c.relpersistence::text,
  ARRAY(SELECT ev_action::text FROM pg_rewrite
        WHERE ev_class = c.oid AND ev_type = '1' AND c.relkind = 'v')
  || ARRAY(SELECT polqual::text FROM pg_policy
           WHERE polrelid = c.oid AND c.relrowsecurity AND polqual IS NOT NULL),
  ARRAY(SELECT inhrelid::int8 FROM pg_inherits WHERE inhparent = c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY(%s::oid[])
ORDER BY 2
"""
_BEHIND_SQL = """
SELECT oprcode::int8 FROM pg_operator WHERE oid = ANY(%s::oid[])
UNION SELECT typinput::int8 FROM pg_type WHERE oid = ANY(%s::oid[])
"""
#: CHECKs of domains, and of the domains that those are made of.
_CHECKS_SQL = """
WITH RECURSIVE wanted (oid) AS (
  SELECT unnest(%s::oid[])
  UNION SELECT t.typbasetype FROM pg_type t JOIN wanted w ON t.oid = w.oid WHERE t.typtype = 'd')
SELECT c.conbin::text FROM pg_constraint c JOIN wanted w ON c.contypid = w.oid
WHERE c.conbin IS NOT NULL
"""
_NAMED_DOMAINS_SQL = "SELECT oid::int8 FROM pg_type WHERE typtype = 'd' AND typname = ANY(%s)"
#: An aggregate is IMMUTABLE in name; what it calls may be not.
_FUNCTIONS_SQL = """
SELECT p.oid::int8, p.oid::regprocedure::text, p.provolatile::text, l.lanname, p.prosrc,
  p.prosqlbody::text,
  ARRAY(SELECT unnest(ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
    a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[])::int8
    FROM pg_aggregate a WHERE a.aggfnoid = p.oid)
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.oid = ANY(%s::oid[])
ORDER BY 2
"""
#: A table without its schema is one that is visible; with it, the schema is among the names.
_NAMED_RELATIONS_SQL = """
SELECT c.oid::int8 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = ANY(%(names)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND (n.nspname = ANY(%(names)s) OR pg_table_is_visible(c.oid))
"""
#: Operators and casts have no words; PostgreSQL's own have no volatile function.
_NAMED_FUNCTIONS_SQL = """
SELECT p.oid::int8 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.proname = ANY(%(names)s)
  AND (n.nspname = ANY(%(names)s) OR pg_function_is_visible(p.oid))
UNION SELECT oprcode::int8 FROM pg_operator WHERE oid >= 16384
UNION SELECT castfunc::int8 FROM pg_cast WHERE oid >= 16384
UNION SELECT typinput::int8 FROM pg_type
  WHERE oid >= 16384 AND typtype <> 'c' AND typname = ANY(%(names)s)
"""
#: Rows that change where one of these objects is altered, replaced or dropped.
_FINGERPRINT_SQL = """
SELECT md5(string_agg(what, ' ' ORDER BY what)) FROM (
  SELECT 'c' || oid || ':' || xmin AS what FROM pg_class WHERE oid = ANY(%(relations)s::oid[])
  UNION ALL SELECT 'r' || oid || ':' || xmin FROM pg_rewrite
            WHERE ev_class = ANY(%(relations)s::oid[])
  UNION ALL SELECT 'p' || oid || ':' || xmin FROM pg_policy
            WHERE polrelid = ANY(%(relations)s::oid[])
  UNION ALL SELECT 'i' || inhrelid || ':' || xmin FROM pg_inherits
            WHERE inhparent = ANY(%(relations)s::oid[])
  UNION ALL SELECT 'f' || oid || ':' || xmin FROM pg_proc WHERE oid = ANY(%(functions)s::oid[])
) AS rows
"""


class Lend(Protocol):
    """Signature of ``Pool.lend``."""

    def __call__(self) -> AbstractContextManager[psycopg.Connection]:
        """One connection for the body."""


class DependencyReader:
    """Asks the server what statements depend on. Safe for threads."""

    def __init__(self, lend: Lend, address: str) -> None:
        self._lend = lend
        self._address = address

    def dependencies(
        self, sql: str, params: Params = None, *, timeout_s: float | None = None
    ) -> Dependencies:
        """Of a statement with these values: their types choose among functions of one name.

        A statement that the server refuses depends on nothing and is not kept: reading it tells
        why. Raises BadParameterError as a query does, QueryTimeoutError and ServerError's kinds.
        """
        with translated(self._address), self._lend() as connection:
            statement = bound(connection, sql, params)
            limit_s = ASK_TIMEOUT_S if timeout_s is None else min(timeout_s, ASK_TIMEOUT_S)
            return _asked(connection, statement, math.ceil(limit_s * 1000))

    def still_holds(self, known: Dependencies) -> bool:
        """Whether what it depends on is as it was; one look at the catalog.

        A new table or function of the same name, earlier in the search path, is not seen.
        """
        with translated(self._address), self._lend() as connection:
            return _fingerprint(connection, known.relations, known.functions) == known.fingerprint


def _asked(connection: psycopg.Connection, statement: bytes, limit_ms: int) -> Dependencies:
    try:
        with _rolled_back(connection, limit_ms):
            # In the extended protocol, which takes one statement alone.
            connection.cursor().execute(_VIEW.replace(b"%b", statement), binary=True)
            return _viewed(connection, statement)
    except (
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.ReadOnlySqlTransaction,
        psycopg.errors.FeatureNotSupported,
    ) as error:
        if why := _why_no_view(connection):
            return _named(connection, statement, why, limit_ms)
        return _refused(error)
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
        raise
    except psycopg.Error as error:
        if error.sqlstate is None or connection.closed:
            raise
        return _refused(error)


@contextmanager
def _rolled_back(
    connection: psycopg.Connection, limit_ms: int, begin: str = "BEGIN READ WRITE"
) -> Iterator[None]:
    try:
        connection.execute(begin.encode())
        connection.execute(f"SET LOCAL statement_timeout = {limit_ms}".encode())
        yield
    finally:
        if not connection.closed:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")


def _refused(error: psycopg.Error) -> Dependencies:
    text = error.diag.message_primary or str(error)
    why = f"only the rows of a SELECT, VALUES or TABLE can be kept; the server said: {text}"
    return Dependencies(not_kept=(why,), not_live=(why,))


def _why_no_view(connection: psycopg.Connection) -> str:
    """Why this session can make no temporary view; empty where it can."""
    found = connection.execute(
        "SELECT pg_is_in_recovery(), has_database_privilege(current_database(), 'TEMP'), "
        "quote_ident(current_database()), quote_ident(current_user)"
    ).fetchone()
    assert found is not None  # noqa: S101  one row always
    standby, may_make, database, user = found
    if standby:
        return "the server is a standby, which takes no temporary view to read the statement"
    if not may_make:
        return f"missing right: GRANT TEMP ON DATABASE {database} TO {user}"
    return ""


def _viewed(connection: psycopg.Connection, statement: bytes) -> Dependencies:
    """By the parse tree of the temporary view."""
    row = connection.execute(_TREE_SQL).fetchone()
    assert row is not None  # noqa: S101  the view was made a moment ago
    view, tree = row
    gathered = Gathered(seen={("relation", view)})
    gathered.add(read_tree(tree))
    _check_columns(connection, statement, gathered)
    if moment := _MOMENT_TEXT.search(statement):
        word = moment[0].decode()
        gathered.not_live.append(f"it has the word {word!r}, which may mean a moment of today")
    return _followed(connection, gathered)


def _check_columns(connection: psycopg.Connection, statement: bytes, gathered: Gathered) -> None:
    """What a view takes in brackets and no read does. Raises psycopg's errors for what is no
    statement by itself.
    """
    described = connection.pgconn.prepare(b"", statement)
    if described.status == ExecStatus.COMMAND_OK:
        described = connection.pgconn.describe_prepared(b"")
    if described.status != ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(described, connection.info.encoding)
    names = [described.fname(at) or b"" for at in range(described.nfields)]
    if not names:
        gathered.not_kept.append("it has no columns")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        text = twice.decode(connection.info.encoding, "replace")
        gathered.not_kept.append(f"two columns are named {text!r}, and a result has each name once")


def _followed(connection: psycopg.Connection, gathered: Gathered) -> Dependencies:
    """What was gathered, and all that it refers to in turn."""
    for _ in range(DEPTH_MAX):
        if not _look(connection, gathered):
            break
    else:
        gathered.not_kept.append(f"views or functions lie more than {DEPTH_MAX} deep")
    if len(gathered.seen) > OBJECTS_MAX:
        gathered.not_kept.append(f"it depends on more than {OBJECTS_MAX:,} objects")
    relations, functions = gathered.relations.values(), gathered.functions.values()
    return gathered.told(_fingerprint(connection, relations, functions))


def _look(connection: psycopg.Connection, gathered: Gathered) -> bool:
    """Look at what was found last; False when there is nothing left to look at."""
    if gathered.operators or gathered.read_types:
        behind = connection.execute(
            _BEHIND_SQL, [list(gathered.operators), list(gathered.read_types)]
        )
        gathered.operators, gathered.read_types = set(), set()
        gathered.want_functions(oid for (oid,) in behind.fetchall())
    domains, gathered.domains = gathered.domains, set()
    if domains:
        for (tree,) in connection.execute(_CHECKS_SQL, [list(domains)]).fetchall():
            gathered.add(read_tree(tree))
    if len(gathered.seen) > OBJECTS_MAX:
        return False
    relations, gathered.new_relations = gathered.new_relations, set()
    functions, gathered.new_functions = gathered.new_functions, set()
    if relations:
        for row in connection.execute(_RELATIONS_SQL, [list(relations)]).fetchall():
            _add_relation(gathered, row)
    if functions:
        for row in connection.execute(_FUNCTIONS_SQL, [list(functions)]).fetchall():
            _add_function(gathered, row)
    left = gathered.operators or gathered.read_types or gathered.domains
    return bool(relations or functions or left)


def _add_relation(gathered: Gathered, row: Sequence[Any]) -> None:
    oid, name, kind_code, persistence, trees, children = row
    kind = _KINDS.get(kind_code, f"relation of kind {kind_code!r}")
    gathered.relations[oid] = RelationDependency(oid, name, kind)
    for tree in trees:
        gathered.add(read_tree(tree))
    gathered.want_relations(children)
    if persistence == "t":
        gathered.not_kept.append(f"{name} is temporary: its session alone has it")
    if kind_code == "v":
        return
    if oid < FIRST_USER_OID:
        gathered.not_live.append(f"{name} is PostgreSQL's own, whose changes nobody is told of")
    elif kind_code not in "rp":
        gathered.not_live.append(f"{name} is a {kind}, whose changes nobody is told of")
    elif persistence == "u":
        gathered.not_live.append(f"{name} is unlogged, so its changes are in no log")
    elif kind_code == "r" and children:
        gathered.not_live.append(f"{name} is inherited from (INHERITS), and cannot be followed")


def _add_function(gathered: Gathered, row: Sequence[Any]) -> None:
    oid, name, letter, language, source, tree, called = row
    volatility = _VOLATILITIES[letter]
    own = oid >= FIRST_USER_OID
    if own or volatility != "immutable":
        gathered.functions[oid] = FunctionDependency(oid, name, volatility)
    gathered.want_functions(called)
    if tree is not None:
        gathered.add(read_tree(tree))
    if volatility == "volatile":
        way_out = "; declare it STABLE if it only reads" if own else ""
        gathered.not_kept.append(f"{name} is VOLATILE{way_out}")
    elif volatility == "stable" and own and tree is None:
        gathered.not_live.append(
            f"{name} is STABLE and written in {language}: it depends on tables nobody can name"
        )
    elif volatility == "stable" and not own and not _BY_SETTINGS.fullmatch(source):
        gathered.not_live.append(f"{name} is STABLE: it may change while the tables do not")


def _fingerprint(
    connection: psycopg.Connection,
    relations: Iterable[RelationDependency],
    functions: Iterable[FunctionDependency],
) -> str:
    values = {
        "relations": [relation.oid for relation in relations],
        "functions": [function.oid for function in functions],
    }
    row = connection.execute(_FINGERPRINT_SQL, values).fetchone()
    return (row and row[0]) or ""


def _named(
    connection: psycopg.Connection, statement: bytes, why: str, limit_ms: int
) -> Dependencies:
    """All that the statement could name, where there is no way to its parse tree."""
    names, not_kept = possible_names(statement.decode(errors="replace"))
    gathered = Gathered()
    try:
        with _rolled_back(connection, limit_ms, "BEGIN READ ONLY"):
            _check_columns(connection, statement, gathered)
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
        raise
    except psycopg.Error as error:
        if error.sqlstate is None or connection.closed:
            raise
        return _refused(error)
    gathered.not_live.append(f"what it depends on is known by possible names alone ({why})")
    if not_kept:
        gathered.not_kept.append(not_kept)
    relations = connection.execute(_NAMED_RELATIONS_SQL, {"names": names}).fetchall()
    functions = connection.execute(_NAMED_FUNCTIONS_SQL, {"names": names}).fetchall()
    gathered.want_relations(oid for (oid,) in relations)
    gathered.want_functions(oid for (oid,) in functions)
    domains = connection.execute(_NAMED_DOMAINS_SQL, [names]).fetchall()
    gathered.domains |= {oid for (oid,) in domains}
    return _followed(connection, gathered)
