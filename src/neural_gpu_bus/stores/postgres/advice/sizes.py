"""Sizes in words, all in one form, whichever form they come in. Pure."""

from __future__ import annotations

import re

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_SETTING = re.compile(r"(\d+)(kB|MB|GB|TB)")
_POWERS = {"kB": 10, "MB": 20, "GB": 30, "TB": 40}


def size(nbytes: float) -> str:
    """``64 KiB``, ``31.4 MiB``, ``1.5 GiB``: one digit behind the point, none where it is zero."""
    for unit in _UNITS:
        if nbytes < 1024 or unit == _UNITS[-1]:
            break
        nbytes /= 1024
    text = f"{nbytes:,.1f}".removesuffix(".0")
    return f"{text} {unit}"


def setting_size(text: str) -> str:
    """The same of a setting as the server is given it: ``9256531kB``; else as it is."""
    found = _SETTING.fullmatch(text)
    return size(int(found[1]) << _POWERS[found[2]]) if found else text
