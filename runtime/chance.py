"""Chance that can be repeated: every draw follows from the episode's seed, the step, the attempt and the use.

Counter-based (SplitMix64's finaliser over columns), so a draw does not depend on who shares the batch or how many draws
came before.
"""

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def seeds_for(seeds: NDArray[np.uint64], *use: str) -> NDArray[np.uint64]:
    """Return the seeds of one use, such as a step and an attempt, from the seeds of the episodes."""
    salt = np.frombuffer(hashlib.sha256("\x1f".join(use).encode()).digest()[:8], dtype="<u8")[0]
    return _mixed(seeds ^ salt)


def uniform(seeds: pl.Series, use: str) -> NDArray[np.float64]:
    """Return one number in (0, 1) per seed; 52 bits, because a half more of 53 would round up to 1."""
    bits = seeds_for(seeds.to_numpy(), use) >> np.uint64(12)
    return (bits.astype(np.float64) + 0.5) / float(1 << 52)


def lognormal(seeds: pl.Series, use: str, *, median: float, sigma: float) -> NDArray[np.float64]:
    """Return one log-normal number per seed (Box-Muller), as latencies are distributed."""
    radius = np.sqrt(-2.0 * np.log(uniform(seeds, f"{use}/radius")))
    angle = 2.0 * np.pi * uniform(seeds, f"{use}/angle")
    return median * np.exp(sigma * radius * np.cos(angle))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        values = values + _GOLDEN
        values = (values ^ (values >> np.uint64(30))) * _MIX[0]
        values = (values ^ (values >> np.uint64(27))) * _MIX[1]
        return values ^ (values >> np.uint64(31))
