"""Arguments of the wrong type are told by name."""

from typing import Any

import numpy as np
import pytest

from neural_gpu_bus.arguments import check_whole_number
from neural_gpu_bus.errors import BadParameterError


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_of_python_and_numpy(value: Any) -> None:
    found = check_whole_number("rows", value, 3)

    assert (found, type(found)) == (3, int)


@pytest.mark.parametrize("value", [2, -1, True, np.True_, 3.0, "3", None, np.arange(3)])
def test_what_is_no_whole_number_is_told(value: Any) -> None:
    says = r"rows is .*: expected a whole number, 3 or more\nhint: e.g. rows=1000"
    with pytest.raises(BadParameterError, match=says) as caught:
        check_whole_number("rows", value, 3)

    assert caught.value.parameter == "rows"
