"""The token bucket, with a clock of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyra_mcp.http import rates
from lyra_mcp.http.rates import Rates


def test_a_burst_is_granted_and_then_one_at_a_time():
    moment = 0.0
    bucket = Rates(per_s=2, burst=3, clock=lambda: moment)

    assert [bucket.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.take("b") == 0
    moment = 0.5
    assert [bucket.take("a"), bucket.take("a")] == [0, 0.5]
    moment = 100.0
    assert [bucket.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


@given(st.lists(st.floats(0, 10), max_size=60))
def test_never_more_than_the_burst_and_the_rate_allow(pauses):
    moment = 0.0
    bucket = Rates(per_s=1.5, burst=4, clock=lambda: moment)
    granted = 0
    for pause in pauses:
        moment += pause
        granted += bucket.take("a") == 0
    assert granted <= 4 + 1.5 * moment + 1e-6


def test_the_buckets_are_bounded(monkeypatch):
    monkeypatch.setattr(rates, "KEYS_MAX", 3)
    bucket = Rates(per_s=1, burst=1, clock=lambda: 0.0)

    assert [bucket.take(key) for key in "abca"] == [0, 0, 0, pytest.approx(1)]
    assert [bucket.take(key) for key in "dbc"] == [0, 0, 0]
