"""How long to wait before trying again."""

import random
from collections.abc import Iterator

_FIRST = 0.1
_LONGEST = 5.0


def pauses() -> Iterator[float]:
    """Seconds, longer each time, and random, so that many clients do not come back at once."""
    longest = _FIRST
    while True:
        yield random.uniform(longest / 2, longest)
        longest = min(longest * 2, _LONGEST)
