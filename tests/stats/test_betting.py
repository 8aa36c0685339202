"""Wealth is fair by enumeration, and intervals hold at all looks at once, for a pool and for future items."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewright.stats import betting

DIFFERENCES = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=60)


@pytest.mark.parametrize("pool", [(1, 1, 0, -1, -1, 0), (1, 0, 0, 0, 0, 0.5), (0.5, -0.5, 1, -1, 0.25, 0)])
def test_wealth_is_fair_over_all_orders_of_a_pool(pool: tuple[float, ...]) -> None:
    """Exactly: the mean over all orders is at most 1 after every item where the claim is true."""
    orders = np.array(list(permutations(pool)))
    mean = sum(pool) / len(pool)
    for null, most in ((mean, 1.0), (mean + 0.1, 1.0), (mean - 0.1, np.inf)):
        wealth = betting.growth(orders, null, pool=len(pool))[0].mean(axis=0)
        assert (wealth <= most + 1e-9).all(), (null, wealth)
        assert (wealth > 0).all()


@pytest.mark.parametrize("null", [0.0, 0.1])
def test_both_bettors_are_fair_over_all_sequences_of_future_items(null: float) -> None:
    chances = {-1.0: 0.3, 0.0: 0.3, 0.5: 0.2, 1.0: 0.2}  # mean 0
    sequences = np.array(list(product(chances, repeat=6)))
    weight = np.array([np.prod([chances[one] for one in sequence]) for sequence in sequences.tolist()])
    wealth = (betting.growth(sequences, null, horizon=6) * weight[:, None]).sum(axis=1)
    assert wealth.shape == (2, 6)
    assert (wealth <= 1 + 1e-12).all()
    if null == 0:
        assert wealth == pytest.approx(np.ones((2, 6)))


@given(DIFFERENCES, st.integers(1, 59), st.sampled_from([None, 80]))
def test_batches_multiply(values: list[float], cut: int, pool: int | None) -> None:
    x = np.array(values)
    cut = min(cut, len(x))
    horizon = 80 if pool is None else None
    whole = betting.growth(x, -0.01, pool=pool, horizon=horizon)
    first, rest = x[:cut], x[cut:]
    before = betting.growth(first, -0.01, pool=pool, horizon=horizon)
    after = betting.growth(
        rest, -0.01, pool=pool, horizon=horizon, seen=cut, total=first.sum(), squares=(first**2).sum()
    )
    joined = np.concatenate([before, after * before[:, -1:]], axis=1)
    certain = whole == betting.REFUTED
    assert joined[~certain] == pytest.approx(whole[~certain])


def test_a_claim_is_refuted_when_what_remains_cannot_save_it() -> None:
    x = np.ones(6)
    wealth = betting.growth(x, 0.0, pool=10)[0]
    assert (wealth == betting.REFUTED).tolist() == [False] * 5 + [True]
    assert (betting.growth(-x, 0.0, pool=10) < 1).all()


def test_many_items_do_not_overflow() -> None:
    assert betting.growth(np.ones(20_000), 0.0)[0, -1] == betting.REFUTED
    low, high = betting.bounds(np.ones(20_000), 0.95, None)
    assert 0.99 < low < high == 1


def test_the_wealth_of_a_true_claim_seldom_reaches_its_limit() -> None:
    """Ville's inequality, where the claim is true with nothing to spare: half of 400 items +1 or 0, half -1 or 0."""
    random = np.random.default_rng(3)
    pool = np.repeat([1.0, -1.0, 0.0], [80, 80, 240])
    orders = np.array([random.permutation(pool) for _ in range(1500)])
    ever = betting.growth(orders, 0.0, pool=400)[0].max(axis=1) >= 20
    assert 0.005 < ever.mean() <= 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5
    draws = random.choice([1.0, -1.0, 0.0], p=[0.2, 0.2, 0.6], size=(1500, 400))
    mixed = betting.growth(draws, 0.0, horizon=400).mean(axis=0).max(axis=1) >= 20
    assert 0.01 < mixed.mean() <= 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5


def test_the_second_bettor_finds_what_is_just_large_enough() -> None:
    random = np.random.default_rng(4)
    draws = (random.random((300, 2000)) < 0.65).astype(float) - (random.random((300, 2000)) < 0.60)
    patient, aimed = (betting.growth(draws, 0.0, horizon=2000).max(axis=2) >= 20).mean(axis=1)
    assert aimed > 0.85 > patient


# --- intervals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False], ids=["pool", "future"])
def test_the_interval_holds_at_all_looks_at_once(whole: bool) -> None:
    random = np.random.default_rng(5)
    missed = 0
    for _ in range(60):
        x = random.choice([1.0, -1.0, 0.0], p=[0.25, 0.15, 0.6], size=300)
        truth = x.mean() if whole else 0.1
        looks = [betting.bounds(x[:n], 0.9, 300 if whole else None) for n in (15, 60, 150, 280)]
        missed += any(not low <= truth <= high for low, high in looks)
    assert missed / 60 <= 0.1 + 2 * (0.1 * 0.9 / 60) ** 0.5


@settings(max_examples=25)
@given(DIFFERENCES, st.integers(0, 60))
def test_bounds_know_what_is_certain(values: list[float], unseen: int) -> None:
    pool = len(values) + unseen
    low, high = betting.bounds(values, 0.95, pool)
    mean, total = sum(values) / len(values), sum(values)
    assert low <= mean + 1e-9
    assert high >= mean - 1e-9
    assert (total - unseen) / pool - 2e-6 <= low
    assert high <= (total + unseen) / pool + 2e-6
    if unseen == 0:
        assert low == high == pytest.approx(mean)


@settings(max_examples=15)
@given(DIFFERENCES, st.sampled_from([None, 100]))
def test_bounds_mirror_and_grow_with_confidence(values: list[float], pool: int | None) -> None:
    low, high = betting.bounds(values, 0.95, pool)
    mirrored = betting.bounds([-one for one in values], 0.95, pool)
    assert [-mirrored[1], -mirrored[0]] == pytest.approx([low, high], abs=1e-5)
    wider = betting.bounds(values, 0.99, pool)
    assert wider[0] <= low + 1e-6
    assert wider[1] >= high - 1e-6


def test_bounds_are_not_much_wider_than_those_of_one_look() -> None:
    """Against the normal interval for one look, planned before: the price of looking at all times."""
    x = np.resize([1.0, -1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0], 2000)
    x = np.random.default_rng(6).permutation(x)
    low, high = betting.bounds(x[:1000], 0.95, None)
    once = 2 * 1.96 * x[:1000].std() / 1000**0.5
    assert 1 < (high - low) / once < 1.9
    within = betting.bounds(x[:1000], 0.95, 2000)
    assert within[1] - within[0] < 0.8 * (high - low)


def test_nothing_seen_and_what_is_no_difference() -> None:
    assert betting.bounds([], 0.95, 10) == (-1, 1)
    for values, pool in (([0.0, 1.5], 10), ([float("nan")], 10), ([0.0] * 3, 2)):
        with pytest.raises(ValueError, match="differences lie in"):
            betting.bounds(values, 0.95, pool)
