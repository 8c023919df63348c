"""One append as several transactions, each with a range of the rows, over as many connections.

A COPY is one process of the server, so that one transaction never uses two of its cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from neural_gpu_bus.descriptors import StoreReceipt
from neural_gpu_bus.errors import BadParameterError, NeuralGpuBusError
from neural_gpu_bus.stores.postgres.tables.table_definition import ledger_name
from neural_gpu_bus.stores.postgres.writing.ledgers import (
    claim_job,
    claimed_jobs,
    claimed_rows,
    note_contents,
    note_job_rows,
)
from neural_gpu_bus.stores.postgres.writing.row_digests import differ, row_digests

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.writing.writer import PostgresWriter, Write


class UnfinishedRangesError(Exception):
    """The job was begun in ranges, and not all of them are stored. Never reaches a caller."""

    def __init__(self, ranges: int) -> None:
        super().__init__(ranges)
        self.ranges = ranges


@dataclass(frozen=True, slots=True)
class RowRange:
    """Rows ``first`` to ``last``, both included, counted from 1."""

    first: int
    last: int
    job_id: str | None

    @property
    def rows(self) -> int:
        """How many."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


def row_ranges(rows: int, transactions: int, job_id: str | None) -> list[RowRange]:
    """As many ranges of nearly one size; fewer where there are fewer rows."""
    count = max(1, min(rows, transactions))
    ends = [rows * number // count for number in range(count + 1)]
    return [
        RowRange(begin + 1, end, job_id and f"{job_id} range {number} of {count}")
        for number, (begin, end) in enumerate(pairwise(ends), 1)
    ]


def store_ranges(
    writer: PostgresWriter, write: Write, transactions: int, *, transactions_begun: bool = False
) -> StoreReceipt:
    """Append the rows in ranges at once. Not atomic: others see a range as soon as it is
    committed, and a range that fails does not take back the others.

    Where ranges fail, all are tried to the end, and the first failure is raised with
    ``stored_ranges`` and ``missing_ranges``, pairs of first and last row. With a job id the same
    call again stores the missing ones alone, whatever ``transactions`` says then.

    Raises BadParameterError where the rows are a stream, the mode is not append, or the job was
    begun with other rows.
    """
    rows = write.data.rows
    if transactions_begun and write.mode != "append":
        raise BadParameterError(
            f"job {write.job_id!r} was begun as an append in {transactions} ranges, and not all of "
            "them are stored",
            hint="store the same rows with mode='append' and this job_id, or give another job_id",
            parameter="job_id",
        )
    if write.mode != "append" or rows is None or write.data.part is None:
        raise BadParameterError(
            "several transactions are for an append of a table whose rows are known beforehand",
            hint="leave transactions out, or give mode='append' and a table",
            parameter="transactions",
        )
    writer.open_table(write)
    ranges = row_ranges(rows, transactions, write.job_id)
    if write.job_id is not None:
        begun = _begin(writer, write, len(ranges))
        if begun is None:
            with writer.lend() as connection:
                return StoreReceipt(rows=0, lsn=writer.log_position(connection), repeated=True)
        ranges = row_ranges(rows, begun, write.job_id)
        _check_same_rows(writer, write, ranges)
    with ThreadPoolExecutor(len(ranges), "ngb-store") as threads:
        stores = [threads.submit(writer.run, _part(write, one)) for one in ranges]
    if write.job_id is not None and any(store.exception() for store in stores):
        _note_contents(writer, write, ranges)
    _raise_failure(ranges, stores, write.job_id)
    receipts = [store.result() for store in stores]
    if write.job_id is not None:
        with writer.lend() as connection:
            note_job_rows(connection, write.job_id, ledger_name(connection, write.table), rows)
    return StoreReceipt(
        rows=sum(receipt.rows for receipt in receipts),
        lsn=max((receipt.lsn for receipt in receipts), key=_position),
        repeated=all(receipt.repeated for receipt in receipts),
    )


def _part(write: Write, one: RowRange) -> Write:
    assert write.data.part is not None  # noqa: S101  (``store_ranges`` has looked)
    data = write.data.part(one.first - 1, one.rows)
    return replace(write, data=data, job_id=one.job_id, key=(), create=False)


def _begin(writer: PostgresWriter, write: Write, ranges: int) -> int | None:
    """In how many ranges the job is stored, by the first call that said so; None when it is."""
    assert write.job_id is not None  # noqa: S101  (called for jobs alone)
    with writer.lend() as connection:
        name = ledger_name(connection, write.table)
        claim_job(connection, write.job_id, name, -ranges)
        claimed = claimed_rows(connection, write.job_id, name)
    return -claimed if claimed < 0 else None


def _stored(
    writer: PostgresWriter, write: Write, ranges: Sequence[RowRange]
) -> dict[RowRange, tuple[int, str | None]]:
    """The ranges that are stored: rows, and what was noted of their content."""
    with writer.lend() as connection:
        name = ledger_name(connection, write.table)
        found = claimed_jobs(connection, [one.job_id for one in ranges if one.job_id], name)
    return {one: found[one.job_id] for one in ranges if one.job_id in found}


def _check_same_rows(writer: PostgresWriter, write: Write, ranges: Sequence[RowRange]) -> None:
    """Ranges that are stored must be the caller's; the others may have been mended."""
    stored = _stored(writer, write, ranges)
    for one, (rows, _) in stored.items():
        if rows != one.rows:
            raise _other_rows(write, f"rows {one} were {rows} rows")
    noted = {one: content for one, (_, content) in stored.items() if content}
    with writer.lend() as connection:
        digests = row_digests(connection, write.table, [_part(write, one).data for one in noted])
    for (one, content), digest in zip(noted.items(), digests, strict=True):
        if differ(content, digest):
            raise _other_rows(write, f"rows {one} are stored, with other values")


def _other_rows(write: Write, why: str) -> BadParameterError:
    return BadParameterError(
        f"job {write.job_id!r} was begun with other rows: {why}",
        hint="give the same rows again, or another job_id",
        parameter="job_id",
    )


def _note_contents(writer: PostgresWriter, write: Write, ranges: Sequence[RowRange]) -> None:
    """So that other rows under this job's id are told; what fails here hides no other failure."""
    with suppress(NeuralGpuBusError):
        stored = [*_stored(writer, write, ranges)]
        with writer.lend() as connection:
            parts = [_part(write, one).data for one in stored]
            digests = row_digests(connection, write.table, parts)
            contents = {one.job_id or "": text for one, text in zip(stored, digests, strict=True)}
            note_contents(connection, contents, ledger_name(connection, write.table))


def _raise_failure(
    ranges: Sequence[RowRange], stores: Sequence[Future[StoreReceipt]], job_id: str | None
) -> None:
    """The first failure, with what became of all ranges."""
    errors = [store.exception() for store in stores]
    failed = [error for error in errors if error is not None]
    if not failed:
        return
    unexpected = [error for error in failed if not isinstance(error, NeuralGpuBusError)]
    if unexpected:
        raise unexpected[0]
    first = failed[0]
    assert isinstance(first, NeuralGpuBusError)  # noqa: S101  (looked at above)
    stored = [one for one, error in zip(ranges, errors, strict=True) if error is None]
    missing = [one for one, error in zip(ranges, errors, strict=True) if error is not None]
    hint = (
        "mend what is wrong and store the same rows with the same job_id again: only the missing "
        "ones are written"
        if job_id is not None
        else "store the missing rows alone, or delete the others; with a job_id a store finishes "
        "what is missing"
    )
    raise type(first)(
        f"{first.what}; of {len(ranges)} transactions {len(stored)} are stored "
        f"(rows {_listed(stored)}), and {len(missing)} are not (rows {_listed(missing)})",
        hint=f"{first.hint}; {hint}" if first.hint else hint,
        **first.facts,
        stored_ranges=[(one.first, one.last) for one in stored],
        missing_ranges=[(one.first, one.last) for one in missing],
    ) from first


def _listed(ranges: Sequence[RowRange]) -> str:
    return ", ".join(map(str, ranges)) or "none"


def _position(lsn: str) -> int:
    """Zero where it is not known."""
    if not lsn:
        return 0
    upper, _, lower = lsn.partition("/")
    return int(upper, 16) << 32 | int(lower, 16)
