"""Why a result is not kept: no error, the statement is read all the same."""

from __future__ import annotations


class Uncacheable(Exception):  # noqa: N818  (told to nobody but this package)
    """A key cannot be made of these values, or the result must not be kept; ``why`` in words."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
