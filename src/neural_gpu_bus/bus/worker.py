"""The worker's loop: take, run, answer, with a thread that says meanwhile that the worker lives."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

import structlog

from neural_gpu_bus.descriptors import ErrorRecord, JobAnswer, JobDescriptor
from neural_gpu_bus.error_records import to_record
from neural_gpu_bus.errors import JobFailedError, NeuralGpuBusError, ServerError
from neural_gpu_bus.ports import JobQueue, Lease

#: One look for a job; how long SIGTERM may wait in an idle worker.
TAKE_S = 1.0
#: Waits between attempts while Redis is away: doubling from the first to the last.
RETRY_S, RETRY_S_MAX = 0.1, 5.0

Runner = Callable[[JobDescriptor, int], JobAnswer]

_log = structlog.get_logger(__name__)


def run_worker(queue: JobQueue, runner: Runner, *, stop: Callable[[], bool] | None = None) -> None:
    """Run jobs until ``stop`` is true, SIGTERM or Ctrl-C; a job in hand is finished first.

    Signals are heeded where this runs in the main thread; a second Ctrl-C ends at once. An error of
    a job becomes its answer. While Redis is away the worker waits and tries again.
    """
    ended = threading.Event()
    with _signals_set(ended), _Heartbeat(queue) as heartbeat:
        retry_s = RETRY_S
        while not ended.is_set() and not (stop is not None and stop()):
            try:
                work_once(queue, runner, heartbeat.holding)
                retry_s = RETRY_S
            except ServerError as error:
                _log.warning("compute redis is away", error=error.what, retry_s=retry_s)
                ended.wait(retry_s)
                retry_s = min(2 * retry_s, RETRY_S_MAX)


def work_once(
    queue: JobQueue,
    runner: Runner,
    holding: Callable[[Lease | None], None],
    timeout_s: float = TAKE_S,
) -> bool:
    """Take one job and answer it; False when none came. ``holding`` is told the lease in hand."""
    lease = queue.take(timeout_s)
    if lease is None:
        return False
    holding(lease)
    try:
        answer = answer_of(runner, lease.job, lease.deliveries)
        if not queue.finish(lease, answer):
            _log.info("another worker had answered", job=lease.job.id)
    finally:
        holding(None)
    return True


def answer_of(runner: Runner, job: JobDescriptor, deliveries: int) -> JobAnswer:
    """What the runner says, or its error as a failed answer."""
    try:
        return runner(job, deliveries)
    except NeuralGpuBusError as error:
        failure = to_record(error)
    except Exception as error:  # noqa: BLE001  the edge of the process: every error is answered
        _log.exception("job failed", job=job.id, workload=job.workload)
        what = f"{job.workload} failed with {type(error).__name__}: {error}"
        hint = "the worker's log has the traceback"
        failure = ErrorRecord(JobFailedError.__name__, what, hint)
    return JobAnswer(job.id, "failed", failure=failure)


class _Heartbeat:
    """A thread that extends the lease in hand, and the worker's own word that it lives."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._lease: Lease | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="ngb-heartbeat", daemon=True)

    def holding(self, lease: Lease | None) -> None:
        self._lease = lease

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(self._queue.heartbeat_s):
            try:
                self._queue.extend(self._lease)
            except ServerError as error:
                _log.warning("no sign of life could be sent", error=error.what)


@contextmanager
def _signals_set(ended: threading.Event) -> Iterator[None]:
    """SIGTERM and the first Ctrl-C set ``ended``; handlers are put back afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: FrameType | None) -> None:
        if ended.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        ended.set()

    before: dict[int, Any] = {
        number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
