"""Times as callers write them."""

import pytest

from lyra_mcp.domain.moments import read_moment
from lyra_mcp.errors import Invalid


@pytest.mark.parametrize(
    ("written", "is_end", "moment"),
    [
        ("2026-03-01", False, "2026-03-01T00:00:00.000000+00:00"),
        ("2026-03-01", True, "2026-03-01T23:59:59.999999+00:00"),
        ("2026-03-01T09:30:00+09:00", False, "2026-03-01T00:30:00.000000+00:00"),
        ("2026-03-01T09:30:00Z", True, "2026-03-01T09:30:00.000000+00:00"),
        ("2026-03-01 09:30", False, "2026-03-01T09:30:00.000000+00:00"),
    ],
)
def test_a_moment_is_read_as_utc(written, is_end, moment):
    assert read_moment("since", written, is_end=is_end) == moment


@pytest.mark.parametrize("written", ["yesterday", "", "2026-13-01", "01/03/2026", "0001-01-01T00:00:00+23:00", "12"])
def test_what_is_no_moment_is_refused(written):
    with pytest.raises(Invalid, match=r"^E_INVALID: until must be a date or time like 2026-03-01"):
        read_moment("until", written, is_end=True)
