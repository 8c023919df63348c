"""How many rows a table is expected to have, asked before it is read; its connections are open
then.
"""

from __future__ import annotations

from typing import Final

import psycopg

from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.reading.exchange import transactions
from neural_gpu_bus.stores.postgres.reading.exchange.exchanges import cancelled_on_error
from neural_gpu_bus.stores.postgres.reading.exchange.libpq_session import LibpqSession
from neural_gpu_bus.stores.postgres.reading.reading_means import ReadingMeans
from neural_gpu_bus.stores.postgres.reading.statement import bound
from neural_gpu_bus.stores.postgres.reading.table.ctid_ranges import connections_for
from neural_gpu_bus.stores.postgres.reading.table.table_facts import facts_statement, read_facts
from neural_gpu_bus.stores.postgres.reading.table.table_statement import TableQuestion
from neural_gpu_bus.stores.postgres.reading.watching import ask_estimate

#: Longer nobody waits for an answer that the read does without.
ANSWER_S_MAX: Final = 1.0
#: Of connections that are opened: another read may want them.
_CONNECTIONS_MAX: Final = 2


def expected_rows(means: ReadingMeans, question: TableQuestion) -> int | None:
    """As the catalog has it, or the planner where that was never counted or there is a condition;
    None where no connection is free or the server does not answer soon.
    """
    with means.pool.lend_free(1) as free:
        for leader in free:
            try:
                with cancelled_on_error(leader):
                    rows, connections = _asked(means, question, leader)
            except (NeuralGpuBusError, psycopg.Error):
                leader.close()
                return None
            with means.pool.lend_free(connections - 1):
                return rows
    return None


def _asked(
    means: ReadingMeans, question: TableQuestion, leader: psycopg.Connection
) -> tuple[int, int]:
    """And how many connections the read will take."""
    session = LibpqSession(leader, means.address, Deadline(ANSWER_S_MAX, means.address))
    begin = transactions.begin(limit_ms=int(1000 * ANSWER_S_MAX), read_only=True)
    facts = read_facts(session.run(begin + facts_statement(question.table)), question.table)
    where = bound(leader, question.where, question.params).decode() if question.where else ""
    rows = facts.rows
    if rows is None or where:
        rows = ask_estimate(session, question.whole(where)).rows
    session.run(b"COMMIT")
    return rows, connections_for(facts.pages, _CONNECTIONS_MAX, asked=False)
