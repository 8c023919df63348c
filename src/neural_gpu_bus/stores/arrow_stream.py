"""Arrow's stream format, as far as files and Redis both look at it."""

from __future__ import annotations

#: Continuation mark and length 0: a stream ends with this, and one without it was cut.
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
