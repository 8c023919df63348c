"""Reads a file in one thread while another encodes and sends: both mostly run outside the GIL."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

#: Batches that wait: one is being read while one is being sent, and memory stays bounded.
BATCHES_AHEAD_MAX = 2


def read_ahead(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same batches in the same order; an error in reading comes out where it happened.

    The reading thread ends when the iterator is exhausted, fails, or is closed.
    """
    ready: queue.Queue[pa.RecordBatch | BaseException | None] = queue.Queue(BATCHES_AHEAD_MAX)
    unwanted = threading.Event()

    def read() -> None:
        try:
            for batch in batches:
                ready.put(batch)
                if unwanted.is_set():
                    return
            ready.put(None)
        except BaseException as error:  # noqa: BLE001  # goes to the thread that waits for it
            ready.put(error)

    thread = threading.Thread(target=read, name="ngb-read-file", daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        unwanted.set()
        while thread.is_alive():
            _take_one(ready)
        thread.join()


def _take_one(ready: queue.Queue[pa.RecordBatch | BaseException | None]) -> None:
    """Make room, so that a thread which waits to put something in can see that it is over."""
    try:
        ready.get(timeout=0.01)
    except queue.Empty:
        return
