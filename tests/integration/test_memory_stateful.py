"""Any sequence of steps, by two users of one folder, against a plain dictionary of lists."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from neural_gpu_bus.errors import DatasetEvictedError, DatasetNotFoundError
from neural_gpu_bus.memory import Frame, UnifiedMemory
from neural_gpu_bus.memory.catalog.names import VERSIONS_KEPT

NAMES = st.sampled_from(["a", "b", "b/c"])
USERS = st.integers(0, 1)
VALUES = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20)


class MemoryMachine(RuleBasedStateMachine):
    """``model``: name -> values of each version, 1 first. ``views``: what somebody still holds."""

    def __init__(self) -> None:
        super().__init__()
        shared = Path("/dev/shm")
        self.folder = Path(
            tempfile.mkdtemp(prefix="ngb-test-", dir=shared if shared.is_dir() else None)
        )
        self.users = [UnifiedMemory(self.folder, 64 << 20) for _ in range(2)]
        self.model: dict[str, list[list[int]]] = {}
        self.views: list[tuple[Any, list[int]]] = []
        self.loose: list[tuple[Frame, list[int]]] = []

    def teardown(self) -> None:
        for user in self.users:
            user.close()
        shutil.rmtree(self.folder)

    @rule(user=USERS, name=NAMES, values=VALUES)
    def put(self, user: int, name: str, values: list[int]) -> None:
        frame = self.users[user].put(name, {"x": np.array(values, "i8")})
        self.model.setdefault(name, []).append(values)

        assert frame.descriptor.version == len(self.model[name])

    @rule(user=USERS, name=NAMES)
    def get_and_hold(self, user: int, name: str) -> None:
        if name in self.model:
            self.views.append((self.users[user].get(name)["x"], self.model[name][-1]))
        else:
            with pytest.raises(DatasetNotFoundError, match=repr(name)):
                self.users[user].get(name)

    @rule(user=USERS, name=NAMES, version=st.integers(-1, 6))
    def get_version(self, user: int, name: str, version: int) -> None:
        versions = self.model.get(name, [])
        kept = range(max(1, len(versions) - VERSIONS_KEPT + 1), len(versions) + 1)
        if version in kept:
            found = self.users[user].get(name, version)
            assert found["x"].tolist() == versions[version - 1]
        else:
            error = DatasetEvictedError if versions else DatasetNotFoundError
            with pytest.raises(error, match=repr(name)):
                self.users[user].get(name, version)

    @rule(user=USERS, name=NAMES)
    def drop(self, user: int, name: str) -> None:
        if self.model.pop(name, None) is None:
            with pytest.raises(DatasetNotFoundError, match=repr(name)):
                self.users[user].drop(name)
        else:
            self.users[user].drop(name)

    @rule(user=USERS, values=VALUES)
    def share(self, user: int, values: list[int]) -> None:
        self.loose.append((self.users[user].share({"x": np.array(values, "i8")}), values))

    @rule(user=USERS, name=NAMES)
    def pin(self, user: int, name: str) -> None:
        if name in self.model:
            memory = self.users[user]
            self.loose.append((memory.pin(memory.get(name)), self.model[name][-1]))

    @precondition(lambda self: self.loose)
    @rule(user=USERS, place=st.integers(0, 100))
    def attach(self, user: int, place: int) -> None:
        frame, values = self.loose[place % len(self.loose)]

        assert self.users[user].attach(frame.descriptor)["x"].tolist() == values

    @precondition(lambda self: self.views or self.loose)
    @rule()
    def let_go(self) -> None:
        self.views.clear()
        self.loose.clear()

    @rule(user=USERS)
    def reopen(self, user: int) -> None:
        self.loose.clear()
        self.users[user].close()
        self.users[user] = UnifiedMemory(self.folder, 64 << 20)

    @invariant()
    def every_view_is_as_it_was(self) -> None:
        for array, values in self.views:
            assert array.tolist() == values
        for frame, values in self.loose:
            assert frame["x"].tolist() == values

    @invariant()
    def all_users_agree_on_names_and_newest(self) -> None:
        for user in self.users:
            assert user.names() == sorted(self.model)
            for name, versions in self.model.items():
                assert user.get(name)["x"].tolist() == versions[-1]

    @invariant()
    def files_are_those_of_the_index(self) -> None:
        kept = sum(min(len(versions), VERSIONS_KEPT) for versions in self.model.values())
        files = list(self.folder.glob("datasets/*"))
        assert len(files) == kept
        pinned = {frame.descriptor.path for frame, _ in self.loose}
        assert {
            str(path.relative_to(self.folder)) for path in self.folder.glob("sessions/*/*.arrow")
        } == pinned


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(
    max_examples=80,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
