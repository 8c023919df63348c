"""Bytes, times and counts in few characters."""

from __future__ import annotations

import pytest

from neural_gpu_bus.quantities import (
    count,
    ratio,
    shorter,
    size,
    size_in_words,
    span,
    span_in_words,
)


@pytest.mark.parametrize(
    ("nbytes", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (640 << 20, "640 MiB"),
        (16 << 30, "16 GiB"),
        (5000 << 40, "5000 TiB"),
    ],
)
def test_size(nbytes: int, expected: str) -> None:
    assert size(nbytes) == expected


@pytest.mark.parametrize(
    ("nbytes", "expected"),
    [
        (800, "800 bytes"),
        (64 << 10, "64 KiB"),
        (31.4 * (1 << 20), "31.4 MiB"),
        (1023 << 20, "1,023 MiB"),
        (5000 << 40, "5,000 TiB"),
    ],
)
def test_size_in_words(nbytes: float, expected: str) -> None:
    assert size_in_words(nbytes) == expected


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (1_500, "1.5 us"),
        (40_000_000, "40 ms"),
        (59_000_000_000, "59 s"),
        (90_000_000_000, "1.5 min"),
        (7_200_000_000_000, "2.0 h"),
        (86_400_000_000_000 * 30, "30 d"),
    ],
)
def test_span(nanoseconds: int, expected: str) -> None:
    assert span(nanoseconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-1, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (200_000, "2 days")],
)
def test_span_in_words(seconds: int, expected: str) -> None:
    assert span_in_words(seconds * 1e9) == expected


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (0, 0, "-"),
        (0, 9, "0 %"),
        (9, 9, "100 %"),
        (999_999, 1_000_000, "99.9 %"),
        (1, 1_000_000, "0.1 %"),
        (1, 2, "50.0 %"),
    ],
)
def test_ratio(part: int, whole: int, expected: str) -> None:
    assert ratio(part, whole) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0"),
        (999_999, "999,999"),
        (1_234_567, "1.23 M"),
        (100_000_000, "100 M"),
        (5e9, "5.00 G"),
    ],
)
def test_count(number: int, expected: str) -> None:
    assert count(number) == expected


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abc…fg"), ("abc", 1, "…"), ("abc", 2, "a…")],
)
def test_shorter_keeps_both_ends(text: str, width: int, expected: str) -> None:
    assert shorter(text, width) == expected
