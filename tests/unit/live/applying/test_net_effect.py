"""What is left of a batch, by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest

from neural_gpu_bus.live.applying.net_effect import NetEffect, net_effect


def effect_of(*changes: tuple[str, int, int]) -> NetEffect:
    """Each a kind, the new key and the old key; 0 for none."""
    kinds = np.array([ord(kind) for kind, _, _ in changes], np.uint8)
    new, old = np.zeros((len(changes), 2), np.uint64), np.zeros((len(changes), 2), np.uint64)
    new[:, 0] = [key for _, key, _ in changes]
    old[:, 0] = [key for _, _, key in changes]
    return net_effect(kinds, new, old, (old[:, 0] > 0).astype(np.uint8))


def told(effect: NetEffect) -> tuple[list[int], list[int], list[int]]:
    return effect.removed.tolist(), effect.added.tolist(), effect.takes.tolist()


def test_inserts_all_come() -> None:
    assert told(effect_of(("I", 1, 0), ("I", 2, 0))) == ([], [0, 1], [-1, -1])


def test_of_several_updates_of_a_row_the_last_takes_the_place_of_the_row_before() -> None:
    effect = effect_of(("U", 1, 0), ("U", 1, 0), ("U", 1, 0))

    assert told(effect) == ([0], [2], [0])
    assert effect.before.tolist() == [-1, 0, 1]


def test_a_row_that_came_and_went_was_never_there() -> None:
    assert told(effect_of(("I", 1, 0), ("U", 1, 0), ("D", 0, 1))) == ([], [], [])


def test_a_row_that_went_and_came_again_is_another_one() -> None:
    assert told(effect_of(("D", 0, 1), ("I", 1, 0))) == ([0], [1], [-1])


def test_a_key_that_changes_goes_and_comes_by_both_names() -> None:
    effect = effect_of(("U", 2, 1), ("U", 3, 2), ("I", 1, 0))

    assert told(effect) == ([0], [1, 2], [0, -1])
    assert effect.before.tolist() == [-1, 0, -2]


def test_keys_that_swap_within_a_transaction() -> None:
    effect = effect_of(("U", 9, 1), ("U", 1, 2), ("U", 2, 9))

    assert told(effect) == ([0, 1], [1, 2], [1, 0])


def test_equal_rows_go_one_by_one() -> None:
    effect = effect_of(("I", 1, 0), ("I", 1, 0), ("D", 0, 1), ("D", 0, 1), ("D", 0, 1))

    assert told(effect) == ([4], [], [])


@pytest.mark.parametrize("seed", range(20))
def test_any_batch_against_a_plain_list(seed: int) -> None:
    chosen, keys_max = random.Random(seed), 6
    before = [chosen.randint(1, keys_max) for _ in range(5)]
    now: list[tuple[int, int]] = [(key, -1) for key in before]
    changes: list[tuple[str, int, int]] = []
    for number in range(200):
        kind = chosen.choice("IIUD")
        if kind == "I" or not now:
            key = chosen.randint(1, keys_max)
            changes.append(("I", key, 0))
            now.append((key, number))
            continue
        # The newest of its key, as the stack of the walk has it.
        wanted = chosen.choice(now)[0]
        at = max(place for place, (key, _) in enumerate(now) if key == wanted)
        key, _ = now.pop(at)
        if kind == "D":
            changes.append(("D", 0, key))
        else:
            new = chosen.randint(1, keys_max)
            changes.append(("U", new, key if new != key or chosen.random() < 0.5 else 0))
            now.append((new, number))

    effect = effect_of(*changes)

    assert sorted(effect.added.tolist()) == sorted(number for _, number in now if number >= 0)
    gone = [changes[number][2] or changes[number][1] for number in effect.removed.tolist()]
    stays = [key for key, number in now if number < 0]
    assert sorted(gone + stays) == sorted(before)
    assert len(set(effect.takes[effect.takes >= 0].tolist())) == (effect.takes >= 0).sum()
