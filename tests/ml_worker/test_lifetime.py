"""When a worker leaves, on a clock that the test moves."""

import pytest

from ml_worker.lifetime import Lifetime


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def _clock():
    return Clock()


@pytest.fixture(name="lifetime")
def _lifetime(clock):
    return Lifetime(idle_s=100, linger_s=10, clock=clock)


def test_a_worker_nobody_came_to_leaves_after_lingering(lifetime, clock):
    clock.now = 9.9
    assert lifetime.reason_to_leave() is None
    clock.now = 10
    assert lifetime.reason_to_leave() == "no server was present for 10 s"


def test_a_present_server_keeps_the_worker_until_it_is_idle(lifetime, clock):
    with lifetime.presence():
        clock.now = 50
        assert lifetime.reason_to_leave() is None
        clock.now = 100
        assert lifetime.reason_to_leave() == "nothing was asked for 100 s"


def test_a_worker_lingers_after_the_last_server_has_gone(lifetime, clock):
    with lifetime.presence():
        with lifetime.presence():
            clock.now = 50
        clock.now = 70
        assert lifetime.reason_to_leave() is None
    clock.now = 79
    assert lifetime.reason_to_leave() is None
    clock.now = 80
    assert lifetime.reason_to_leave() == "no server was present for 10 s"


def test_requests_put_off_both(lifetime, clock):
    clock.now = 9
    with lifetime.request():
        clock.now = 500
        assert lifetime.reason_to_leave() is None
    clock.now = 509
    assert lifetime.reason_to_leave() is None
    clock.now = 510
    assert lifetime.reason_to_leave() is not None


async def test_waiting_returns_the_reason():
    assert await Lifetime(idle_s=0.05, linger_s=60).wait() == "nothing was asked for 0.05 s"
