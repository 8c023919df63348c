"""What a home has on the server is taken off it, as often as that takes."""

from __future__ import annotations

from neural_gpu_bus.errors import (
    NeuralGpuBusError,
    ReplicationRefusedError,
    ServerUnreachableError,
)
from neural_gpu_bus.live.mirror.leaving import RETRY_S_MAX, Leaving

AWAY = ServerUnreachableError("nothing answers", hint="start it", server="PostgreSQL", address="h")
NOT_OURS = ReplicationRefusedError("another reads the slot", hint="stop it", missing=())


class Server:
    """Answers in turn; the last one again and again."""

    def __init__(self, *answers: bool | NeuralGpuBusError) -> None:
        self.answers, self.asked, self.now_s = list(answers), 0, 0.0

    def leave(self) -> bool:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, NeuralGpuBusError):
            raise answer
        return answer

    def leaving(self) -> Leaving:
        return Leaving(self, lambda: self.now_s)


def test_a_server_that_is_away_is_asked_again_later_each_time() -> None:
    server = Server(AWAY, AWAY, False, True)
    leaving = server.leaving()
    leaving.begin()
    for now_s, asked in [(0.0, 1), (0.9, 1), (1.0, 2), (2.9, 2), (3.0, 3)]:
        server.now_s = now_s
        leaving.look()
        assert (server.asked, leaving.is_over) == (asked, False)
    server.now_s += RETRY_S_MAX
    leaving.look()
    leaving.look()
    assert (server.asked, leaving.is_over, leaving.has_left) == (4, True, True)
    leaving.begin()  # another stream has ended
    leaving.look()
    assert server.asked == 5


def test_what_is_refused_is_left_to_the_next_process() -> None:
    server = Server(NOT_OURS)
    leaving = server.leaving()
    leaving.begin()
    leaving.look()
    server.now_s = 1e9
    leaving.look()
    assert (server.asked, leaving.is_over, leaving.has_left) == (1, True, False)
