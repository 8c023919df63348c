"""Everything ``ngb doctor postgres`` asks: one connection, a few looks at the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from neural_gpu_bus import embedded
from neural_gpu_bus.addresses import postgres_address
from neural_gpu_bus.errors import NotRunningError
from neural_gpu_bus.plane import let_kernels_be_cached
from neural_gpu_bus.status.live_slots import slot_advice_of
from neural_gpu_bus.stores.postgres.advice.advice import Advice
from neural_gpu_bus.stores.postgres.advice.expectations import expectations
from neural_gpu_bus.stores.postgres.advice.server_advice import (
    connection_advice,
    rights_advice,
    settings_advice,
)
from neural_gpu_bus.stores.postgres.advice.table_advice import table_advice

if TYPE_CHECKING:
    from neural_gpu_bus.settings import Settings
    from neural_gpu_bus.stores.postgres.advice.facts import CatalogFacts


class PostgresReport(msgspec.Struct, frozen=True):
    """One server, looked at."""

    #: Host, port and database; never user or password.
    address: str
    #: Title of a group to its advice.
    groups: dict[str, list[Advice]]
    #: Tables that were looked at, and those too small to be.
    tables: int
    tables_unseen: int

    @property
    def problems(self) -> int:
        """What fails until it is changed."""
        return sum(one.standing == "problem" for group in self.groups.values() for one in group)


def examine_postgres(settings: Settings) -> PostgresReport:
    """Look at the server of these settings: the one they name, or the private one that runs.

    Raises NotRunningError where there is none, and ServerError's kinds.
    """
    let_kernels_be_cached(settings)
    expected = expectations(settings)
    dsn = _address(settings)
    facts = _facts(dsn, settings.connect_timeout_s)
    groups = {
        "Connection": connection_advice(facts),
        "Rights": rights_advice(facts),
        "Settings": settings_advice(facts, expected),
        "Live tables": slot_advice_of(settings, dsn),
        "Tables": [one for table in facts.tables for one in table_advice(table)],
    }
    if facts.tables and not groups["Tables"]:
        groups["Tables"] = [Advice("tables", "good", f"{len(facts.tables)} looked at")]
    return PostgresReport(postgres_address(dsn), groups, len(facts.tables), facts.tables_unseen)


def _address(settings: Settings) -> str:
    if settings.postgres_dsn is not None:
        return settings.postgres_dsn.get_secret_value()
    try:
        embedded.status(settings)  # looks, where attaching would make the home
        with embedded.attach(settings, counted=False) as attachment:
            return attachment.addresses.postgres_dsn.get_secret_value()
    except NotRunningError as error:
        raise NotRunningError(
            error.what,
            hint="start the private servers with `ngb up`, or name an existing PostgreSQL in "
            "NGB_POSTGRES_DSN",
            **error.facts,
        ) from None


def _facts(dsn: str, timeout_s: float) -> CatalogFacts:
    from neural_gpu_bus.stores.postgres.advice.catalog_queries import catalog_facts, shares_process
    from neural_gpu_bus.stores.postgres.connections.connection import connect

    address = postgres_address(dsn)
    with connect(dsn, timeout_s=timeout_s) as connection:
        facts = catalog_facts(connection, address)
        if not facts.session.is_pooled:
            return facts
        with connect(dsn, timeout_s=timeout_s) as second:
            shared = shares_process(connection, second, address)
    session = msgspec.structs.replace(facts.session, is_pooled_by_transaction=shared)
    return msgspec.structs.replace(facts, session=session)
