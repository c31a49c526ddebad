"""How often: a token bucket for each user, and a smaller one for each address whose tokens are refused."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

#: Buckets kept at most; the one used longest ago is forgotten first, and by then it is full again.
KEYS_MAX = 10_000


class Rates:
    """`burst` requests at once, and `per_s` more in each second. Times are in seconds of one clock."""

    def __init__(self, *, per_s: float, burst: float, clock: Callable[[], float] = monotonic) -> None:
        assert per_s > 0, per_s
        assert burst >= 1, burst
        self._per_s, self._burst, self._clock = per_s, burst, clock
        #: What is left, and when that was so.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Take one; returns 0, or how many seconds to wait until there is one again."""
        now = self._clock()
        left, since = self._buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_s)
        is_granted = left >= 1
        self._buckets[key] = (left - 1 if is_granted else left, now)
        if len(self._buckets) > KEYS_MAX:
            self._buckets.popitem(last=False)
        return 0.0 if is_granted else (1 - left) / self._per_s
