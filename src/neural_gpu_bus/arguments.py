"""Arguments of the wrong type: an error that names them, at the call, before anything is done."""

from __future__ import annotations

from operator import index
from typing import Any

from neural_gpu_bus.errors import BadParameterError

#: It is the key of a ledger in PostgreSQL, and no entry of an index may pass 2,704 bytes.
JOB_ID_BYTES_MAX = 1024


def check_text(name: str, value: Any, example: str) -> None:
    """BadParameterError for what is no text, or an empty one."""
    if not isinstance(value, str) or not value:
        raise BadParameterError(
            f"{name} is {value!r}: expected a text", hint=f"e.g. {name}={example}", parameter=name
        )


def check_encodable(name: str, value: str) -> None:
    """BadParameterError for a text that has no UTF-8 (half a surrogate pair)."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadParameterError(
            f"{name} is {value!r}: {error.reason} at character {error.start + 1}",
            hint="use text that can be written as UTF-8",
            parameter=name,
        ) from None


def check_job_id(job_id: Any) -> None:
    """BadParameterError for what is neither None nor a text that PostgreSQL and a journal keep as
    it is: not empty, with UTF-8, without NUL, of ``JOB_ID_BYTES_MAX`` at most.
    """
    if job_id is None:
        return
    check_text("job_id", job_id, "'prices of 2026-07-01'")
    check_encodable("job_id", job_id)
    nbytes = len(job_id.encode())
    if nbytes > JOB_ID_BYTES_MAX:
        raise BadParameterError(
            f"job_id of {nbytes:,} bytes: at most {JOB_ID_BYTES_MAX:,} are kept",
            hint="use a short name, or the digest of a long one",
            parameter="job_id",
        )
    if "\0" in job_id:
        raise BadParameterError(
            f"job_id {job_id!r} has a NUL character, which no text of PostgreSQL holds",
            hint="leave it out",
            parameter="job_id",
        )


def check_whole_number(name: str, value: Any, least: int, hint: str = "") -> int:
    """The number, also of numpy's kind; BadParameterError for what is none, or below ``least``."""
    try:
        number = index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise BadParameterError(
            f"{name} is {value!r}: expected a whole number, {least} or more",
            hint=hint or f"e.g. {name}={max(least, 1000)}",
            parameter=name,
        )
    return number


def check_seconds(name: str, value: Any, least: float = 0.0) -> None:
    """BadParameterError for what is no number of seconds, or one below ``least``."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not value >= least:
        raise BadParameterError(
            f"{name} is {value!r}: expected a number of seconds, {least:g} or more",
            hint=f"e.g. {name}=10, or leave it out",
            parameter=name,
        )
