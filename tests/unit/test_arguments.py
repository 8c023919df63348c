"""Arguments of the wrong type are told by name."""

from typing import Any

import numpy as np
import pytest

from neural_gpu_bus.arguments import check_job_id, check_whole_number
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


def test_a_job_id_is_a_text_that_both_the_server_and_a_journal_keep() -> None:
    check_job_id(None)
    check_job_id("prices of 2026-07-01, größer")
    check_job_id("x" * 1024)
    with pytest.raises(BadParameterError, match="job_id is 5: expected a text"):
        check_job_id(5)
    with pytest.raises(BadParameterError, match="job_id is '': expected a text"):
        check_job_id("")
    with pytest.raises(BadParameterError, match="surrogates not allowed at character 2"):
        check_job_id("a\ud800")
    with pytest.raises(BadParameterError, match="job_id of 1,026 bytes: at most 1,024 are kept"):
        check_job_id("ö" * 513)
    with pytest.raises(BadParameterError, match=r"job_id 'a\\x00b' has a NUL character"):
        check_job_id("a\0b")
