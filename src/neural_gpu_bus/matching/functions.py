"""A function on many frames, in threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.arguments import check_whole_number
from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.machine_cores import usable_cores
from neural_gpu_bus.matching.failures import failure, tell
from neural_gpu_bus.matching.merging import as_result

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.memory import Frame
    from neural_gpu_bus.ports import Progress


def run_function(
    frames: Mapping[str, Frame],
    function: Callable[[Frame], Any],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, pa.Table | None]:
    """What the function makes of each frame, in threads; see ``as_result``.

    After a failure nothing more is begun, and what runs is waited for.
    """
    count = min(_threads(threads), len(frames))
    done: dict[str, pa.Table | None] = {}
    with ThreadPoolExecutor(count, thread_name_prefix="ngb-map") as pool:
        named: dict[Future[Any], str] = {
            pool.submit(_one_result, function, frame): name for name, frame in frames.items()
        }
        try:
            for future in as_completed(named):
                done[named[future]] = future.result()
                tell(progress, len(done), len(frames))
        except BaseException as error:
            pool.shutdown(cancel_futures=True)
            failed = _failed(named)
            if not failed:
                raise  # Ctrl-C, or the caller's progress
            raise failure(failed, len(frames)) from (
                None if isinstance(error, NeuralGpuBusError) else error
            )
    return {name: done[name] for name in frames}


def _one_result(function: Callable[[Frame], Any], frame: Frame) -> pa.Table | None:
    return as_result(function(frame))


def _failed(named: Mapping[Future[Any], str]) -> dict[str, BaseException]:
    """Each dataset whose work ended in an error, in the order of names."""
    ended = ((future, name) for future, name in named.items() if not future.cancelled())
    errors = {name: error for future, name in ended if (error := future.exception()) is not None}
    return dict(sorted(errors.items()))


def _threads(asked: int | None) -> int:
    """As many as the cores that this process may use."""
    if asked is not None:
        return check_whole_number("threads", asked, 1, "leave it out for one a core")
    return usable_cores()
