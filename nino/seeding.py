"""One number a run, independent streams for its parts."""

from __future__ import annotations

import hashlib


def derive(seed: int, axis: str) -> int:
    """A seed for one axis of a run: ``init``, ``order``, ``data``, ``meta`` ...

    The first 63 bits of SHA-256 over ``"<seed>/<axis>"``: streams of different axes and seeds are independent, and a
    new axis changes none of the others.

    Args:
        seed: the run's seed, as the config names it.
        axis: what the numbers are for.

    Returns:
        A seed in 0..2^63-1.

    >>> derive(1000, "init") == derive(1000, "init") != derive(1000, "order")
    True
    """
    digest = hashlib.sha256(f"{seed}/{axis}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
