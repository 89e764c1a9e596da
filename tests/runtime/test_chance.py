"""Chance: the same draw in every process, for every batch, and spread as it says."""

import hashlib

import numpy as np
import polars as pl
import pytest

from runtime.chance import lognormal, seeds_for, uniform

MASK = (1 << 64) - 1
GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def splitmix64(seed: int) -> int:
    """Return the first number of SplitMix64, written down from Steele, Lea and Flood (2014)."""
    z = (seed + GOLDEN) & MASK
    z = ((z ^ (z >> 30)) * FIRST) & MASK
    z = ((z ^ (z >> 27)) * SECOND) & MASK
    return z ^ (z >> 31)


def seed_of(drawn: int) -> int:
    """Return the seed from which SplitMix64 draws `drawn` first: its steps undone."""

    def unshift(z: int, by: int) -> int:
        undone = z
        for _ in range(64 // by + 1):
            undone = z ^ (undone >> by)
        return undone

    z = (unshift(drawn, 31) * pow(SECOND, -1, 1 << 64)) & MASK
    z = (unshift(z, 27) * pow(FIRST, -1, 1 << 64)) & MASK
    return (unshift(z, 30) - GOLDEN) & MASK


def salt(*use: str) -> int:
    return int.from_bytes(hashlib.sha256("\x1f".join(use).encode()).digest()[:8], "little")


def seeds(*values: int) -> pl.Series:
    return pl.Series(values, dtype=pl.UInt64)


def test_the_oracle_is_the_published_algorithm() -> None:
    """The vectors below would prove nothing; these are Rosetta Code's and the reference implementation's."""
    assert splitmix64(1234567) == 6457827717110365317
    assert splitmix64(0) == 0xE220A8397B1DCDAF
    assert seed_of(splitmix64(42)) == 42


@pytest.mark.parametrize("seed", [0, 1, 1234567, (1 << 60) - 1, MASK])
def test_seeds_are_splitmix64_of_the_seed_and_its_use(seed: int) -> None:
    """A second process, or a version later, would tell other latencies and other failures of the same episode."""
    (drawn,) = seeds_for(seeds(seed).to_numpy(), "F-01", "2")
    assert int(drawn) == splitmix64(seed ^ salt("F-01", "2"))


def test_fixed_draws_never_change() -> None:
    """What is recorded could not be replayed; the numbers were computed apart from the code."""
    numbers = [(splitmix64(seed ^ salt("latency")) >> 12) + 0.5 for seed in (0, 7, MASK)]
    assert uniform(seeds(0, 7, MASK), "latency").tolist() == [number / 2**52 for number in numbers]


@pytest.mark.parametrize("bits", [0, MASK])
def test_a_draw_is_never_zero_and_never_one(bits: int) -> None:
    """A logarithm of zero is an infinite latency."""
    (drawn,) = uniform(seeds(seed_of(bits) ^ salt("edge")), "edge")
    assert 0.0 < drawn < 1.0


def test_a_draw_does_not_depend_on_who_shares_the_batch() -> None:
    """An episode that is resumed alone would take another path than among others."""
    many = seeds(*range(1000))
    together = lognormal(many, "latency", median=900, sigma=0.45)
    for row in (0, 17, 999):
        (alone,) = lognormal(many[row : row + 1], "latency", median=900, sigma=0.45)
        assert alone == together[row]


def test_uses_and_attempts_draw_apart() -> None:
    """A retry would fail as its first attempt did, and a slow step would always be a costly one."""
    many = seeds(*range(5000)).to_numpy()
    first, second = (pl.Series(seeds_for(many, "F-01", attempt)) for attempt in ("1", "2"))
    assert abs(np.corrcoef(uniform(first, "fault"), uniform(second, "fault"))[0, 1]) < 0.05
    assert abs(np.corrcoef(uniform(first, "fault"), uniform(first, "latency"))[0, 1]) < 0.05


def test_parts_of_a_use_are_kept_apart() -> None:
    """Step `a1`, attempt 1, and step `a`, attempt 11, would share their chance."""
    assert seeds_for(seeds(5).to_numpy(), "a1", "1")[0] != seeds_for(seeds(5).to_numpy(), "a", "11")[0]


def test_latencies_are_log_normal_around_their_median() -> None:
    """A binding that says 900 ms and a spread of 0.45 would be simulated as something else."""
    drawn = np.log(lognormal(seeds(*range(200_000)), "latency", median=900, sigma=0.45))
    assert np.mean(drawn) == pytest.approx(np.log(900), abs=0.005)
    assert np.std(drawn) == pytest.approx(0.45, abs=0.005)
    assert lognormal(seeds(1, 2, 3), "latency", median=60, sigma=0).tolist() == [60.0, 60.0, 60.0]
