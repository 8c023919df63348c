"""Whose answers these are: server, database, user, and the settings that change what SQL means."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.dependencies.dependencies import Lend

#: Settings that change what a statement means or how a value reads as text. They are the session's
#: own: each is reset before a connection is lent.
_MEANING = (
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "array_nulls",
    "bytea_output",
    "default_text_search_config",
    "extra_float_digits",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "quote_all_identifiers",
    "row_security",
    "search_path",
    "standard_conforming_strings",
    "timezone_abbreviations",
    "transform_null_equals",
    "xmlbinary",
    "xmloption",
)
_SYSTEM_SQL = "SELECT system_identifier::text FROM pg_control_system()"
#: Settings of the user's own kind (``app.tenant``) are in no view but the one of roles' settings.
_IDENTITY_SQL = """
SELECT d.oid::int8, d.datname, session_user::text, current_user::text,
  current_setting('server_version_num'),
  ARRAY(SELECT name || '=' || setting FROM pg_settings WHERE name = ANY(%s) ORDER BY name),
  ARRAY(SELECT s.setdatabase || '/' || s.setrole || ':' || s.setconfig::text
        FROM pg_db_role_setting s
        WHERE s.setdatabase IN (0, d.oid)
          AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
        ORDER BY 1),
  current_setting('standard_conforming_strings') = 'on'
FROM pg_database d WHERE d.datname = current_database()
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """Where statements go. Equal texts: the same statement and values have the same meaning."""

    text: str
    #: Whether a backslash in a plain text is itself (``standard_conforming_strings``).
    plain_texts: bool
    #: The system's identifier and the database, whatever the address.
    server: str = ""


def ask_identity(lend: Lend, address: str, options: str = "") -> Identity:
    """Of the connections lent. ``options``: what the address adds to their settings.

    Where the user may not ask for the system's identifier, ``address`` stands for it.
    """
    with translated(address), lend() as connection:
        system = address
        with suppress(psycopg.errors.InsufficientPrivilege):
            row = connection.execute(_SYSTEM_SQL).fetchone()
            system = row[0] if row else address
        found = connection.execute(_IDENTITY_SQL, [list(_MEANING)]).fetchone()
    assert found is not None  # noqa: S101  the database that we are connected to
    *facts, plain_texts = found
    given = [options, os.environ.get("PGOPTIONS", "")]
    text = json.dumps([system, *facts, given])
    return Identity(text, bool(plain_texts), f"{system}/{facts[1]}")
