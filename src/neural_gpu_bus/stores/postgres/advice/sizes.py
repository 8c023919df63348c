"""Sizes that the server's settings say, in words. Pure."""

from __future__ import annotations

import re

from neural_gpu_bus.quantities import size_in_words

_SETTING = re.compile(r"(\d+)(kB|MB|GB|TB)")
_POWERS = {"kB": 10, "MB": 20, "GB": 30, "TB": 40}


def setting_size(text: str) -> str:
    """A size in words of a setting as the server is given it: ``9256531kB``; else as it is."""
    found = _SETTING.fullmatch(text)
    return size_in_words(int(found[1]) << _POWERS[found[2]]) if found else text
