"""The backoff between retries."""

import random
from collections.abc import Iterator

_FIRST = 0.1
_LONGEST = 5.0


def pauses() -> Iterator[float]:
    """Yields seconds to wait: they grow, and are random, so that clients do not retry together."""
    longest = _FIRST
    while True:
        yield random.uniform(longest / 2, longest)
        longest = min(longest * 2, _LONGEST)
