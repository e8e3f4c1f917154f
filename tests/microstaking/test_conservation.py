"""What no trade and no regrouping of stake may change: invariants of pools, limits of concentration and security."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxstake.microstaking import concentration, pools
from jaxstake.microstaking.assessment import SecurityScenario, assess
from jaxstake.microstaking.pools import Concentrated, ConstantProduct, StableSwap

KINDS = {
    "product": ConstantProduct(reserve_x=120.0, reserve_y=150.0),
    "range": Concentrated(liquidity=500.0, price=1.1, low=0.2, high=6.0),
    "stable": StableSwap(reserve_x=300.0, reserve_y=190.0, amplification=30.0, fee=0.003),
}
every_kind = pytest.mark.parametrize("kind", list(KINDS))
FEW = settings(max_examples=40, deadline=None)

# A trade is a share of what the pool can take, and whether x is sold (else y).
trades = st.lists(st.tuples(st.floats(-4, 0.3).map(lambda x: 10.0**x), st.booleans()), min_size=1, max_size=6)


def slack() -> float:
    return 1e-9 if jax.config.jax_enable_x64 else 2e-4


@jax.jit
def _sell(pool: Any, share: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Sell a share of the reserve, or of what the range still takes; amounts, pool after, invariant, spot price."""
    if isinstance(pool, Concentrated):
        amount = 0.5 * jnp.minimum(share, 1.0) * pools.capacity(pool)
    else:
        amount = share * pool.reserve_x
    after = pools.after_swap(pool, amount_in=amount)
    return amount, pools.swap_out(pool, amount_in=amount), after, pools.invariant(after), pools.spot_price(after)


def arrays(pool: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, float), pool)


def sold(pool: Any, share: float, forward: bool) -> tuple[float, float, Any, Any]:
    """Amounts of x into and y out of the pool, the pool after, seen with x first again, and its invariant."""
    facing = pool if forward else arrays(pools.flipped(pool))
    amount, paid, after, invariant, _ = _sell(facing, jnp.asarray(share, float))
    after = after if forward else arrays(pools.flipped(after))
    given, got = (float(amount), float(paid)) if forward else (-float(paid), -float(amount))
    return given, got, after, invariant


@every_kind
@FEW
@given(sequence=trades)
def test_no_sequence_of_trades_moves_the_invariant(kind: str, sequence: list[tuple[float, bool]]) -> None:
    pool = arrays(KINDS[kind])
    wanted = float(pools.invariant(pool))
    for share, forward in sequence:
        pool, invariant = sold(pool, share, forward)[2:]
        assert float(invariant) == pytest.approx(wanted, rel=6 * slack())


@every_kind
@FEW
@given(sequence=trades)
def test_no_sequence_of_trades_gains(kind: str, sequence: list[tuple[float, bool]]) -> None:
    """Trade in any order and then back to where x was: what y comes out, in all, is at most 0."""
    start = arrays(KINDS[kind])
    pool, x, y, moved = start, 0.0, 0.0, 0.0
    for share, forward in sequence:
        given, got, pool, _ = sold(pool, share, forward)
        x, y, moved = x + given, y + got, moved + abs(got)
    if x < 0:
        y += float(pools.swap_out(pool, amount_in=-x))
    elif x > 0:
        y -= bought(pool, x)
    assert y <= 40 * slack() * (moved + 1.0)


def bought(pool: Any, amount: float) -> float:
    """What y must be sold to take this much x out of the pool, by bisection."""
    other = pools.flipped(pool)
    most = pools.capacity(other)
    low, high = 0.0, min(float(most) * (1 - 1e-6), 1e7)
    paid = jax.jit(lambda y: pools.swap_out(other, amount_in=y))
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if float(paid(middle)) < amount else (low, middle)
    return high


@pytest.mark.parametrize("fee", [0.0004, 0.04])
@FEW
@given(share=st.floats(-4, 1).map(lambda x: 10.0**x), parts=st.integers(2, 6))
def test_a_fee_kept_in_the_pool_raises_the_invariant(fee: float, share: float, parts: int) -> None:
    """`after_swap` takes the fee out; put back, as a pool does whose fee is its own, D never falls."""
    pool = dataclasses.replace(arrays(KINDS["stable"]), fee=jnp.asarray(fee, float))
    former = float(pools.invariant(pool))
    for _ in range(parts):
        amount, paid, after, _, _ = _sell(pool, jnp.asarray(share / parts, float))
        kept = float(paid) * fee / (1 - fee)
        pool = dataclasses.replace(after, reserve_y=after.reserve_y + kept)
        now = float(pools.invariant(pool))
        assert now >= former * (1 - slack())
        assert float(amount) > 0
        former = now


@every_kind
@FEW
@given(share=st.floats(-3, 0.5).map(lambda x: 10.0**x), cuts=st.lists(st.floats(0.05, 1.0), min_size=2, max_size=6))
def test_a_trade_in_parts_is_the_trade(kind: str, share: float, cuts: list[float]) -> None:
    """Along one invariant, whatever the fee: it is a share of each payment."""
    pool = arrays(KINDS[kind])
    whole, paid, after, _, price = _sell(pool, jnp.asarray(share, float))
    part, out = pool, 0.0
    for cut in cuts:
        amount = whole * (cut / sum(cuts))
        out += float(pools.swap_out(part, amount_in=amount))
        part = pools.after_swap(part, amount_in=amount)
    assert out == pytest.approx(float(paid), rel=10 * slack())
    assert float(pools.spot_price(part)) == pytest.approx(float(price), rel=20 * slack())
    assert float(pools.spot_price(after)) == pytest.approx(float(price), rel=slack())


@every_kind
@FEW
@given(share=st.floats(-3, 0.5).map(lambda x: 10.0**x), more=st.floats(1.01, 3.0))
def test_more_in_is_more_out_at_a_worse_price(kind: str, share: float, more: float) -> None:
    pool = arrays(KINDS[kind])
    small, less, _, _, high = _sell(pool, jnp.asarray(share, float))
    large, out, _, _, low = _sell(pool, jnp.asarray(share * more, float))
    if float(large) > float(small):
        assert float(out) >= float(less)
        assert float(out) / float(large) <= float(less) / float(small) * (1 + slack())
        assert float(low) <= float(high) * (1 + slack())


@every_kind
def test_no_pool_pays_more_than_it_has(kind: str) -> None:
    pool = arrays(KINDS[kind])
    amount = min(float(pools.capacity(pool)), 1e9)
    has = 500.0 * (math.sqrt(1.1) - math.sqrt(0.2)) if kind == "range" else float(pool.reserve_y)
    assert 0 < float(pools.swap_out(pool, amount_in=amount)) <= has * (1 + slack())


# --- Concentration and security --------------------------------------------------------------------------------------

stakes = st.lists(st.floats(2**-4, 1e5, width=32), min_size=3, max_size=8)


@pytest.fixture(scope="module")
def level() -> Any:
    """Security level from rows of stake and counts, compiled once for a padded list of ten."""
    compiled = jax.jit(lambda rows, counts: assess(SecurityScenario(), stakes=rows, counts=counts))

    def of(rows: Any, counts: Any = None) -> tuple[float, float]:
        padded = np.zeros(10)
        padded[: len(rows)] = rows
        numbers = np.ones(10)
        if counts is not None:
            numbers[: len(rows)] = counts
        found = compiled(jnp.asarray(padded, float), jnp.asarray(numbers, float))
        return float(found.level), float(found.n_eff)

    return of


def test_limits_of_the_security_level(level: Any) -> None:
    """One operator is corrupt or not; equal ones are safer the more there are; a whale is as one."""
    alone, n_eff = level([5.0])
    assert n_eff == pytest.approx(1)
    corruption = 0.5 * math.erfc(2.326 / math.sqrt(2))
    assert alone < -math.log10(corruption) + 0.01
    equal = [level([1.0], [float(n)]) for n in (1, 2, 4, 10, 100, 10_000)]
    assert [n for _, n in equal] == pytest.approx([1, 2, 4, 10, 100, 10_000], rel=1e-5)
    assert all(late >= early for (early, _), (late, _) in itertools.pairwise(equal))
    whale, n_eff = level([1e7, 1.0, 1.0])
    assert (whale, n_eff) == (pytest.approx(alone, rel=1e-4), pytest.approx(1, rel=1e-5))


@FEW
@given(rows=stakes, seed=st.integers(0, 2**16))
def test_security_knows_no_order_and_no_unit(level: Any, rows: list[float], seed: int) -> None:
    shuffled = 32.0 * np.random.default_rng(seed).permutation(rows)
    assert level(shuffled)[0] == pytest.approx(level(rows)[0], rel=1e-4)


@FEW
@given(rows=stakes)
def test_merging_operators_never_makes_safer(level: Any, rows: list[float]) -> None:
    """By the strict amounts: `HHI` rises by `2 p q`, entropy falls by what told the two apart."""
    merged = [rows[0] + rows[1], *rows[2:]]
    before, after = jnp.asarray(rows, float), jnp.asarray(merged, float)
    p, q = rows[0] / sum(rows), rows[1] / sum(rows)
    told_apart = -p * math.log(p / (p + q)) - q * math.log(q / (p + q))
    close = {"rel": 1e-4, "abs": 1e-5}
    rise = float(concentration.herfindahl(after) - concentration.herfindahl(before))
    assert rise == pytest.approx(2 * p * q, **close)
    fall = float(concentration.entropy_nats(before) - concentration.entropy_nats(after))
    assert fall == pytest.approx(told_apart, **close)
    assert level(merged)[0] <= level(rows)[0] + 2e-3


@FEW
@given(rows=stakes, share=st.floats(0.01, 1.0))
def test_stake_from_rich_to_poor_spreads(rows: list[float], share: float) -> None:
    """Pigou and Dalton: no measure of concentration rises when a larger stake gives up to half its lead."""
    high, low = int(np.argmax(rows)), int(np.argmin(rows))
    gift = 0.5 * share * (rows[high] - rows[low])
    after = np.asarray(rows, float)
    after[high] -= gift
    after[low] += gift
    before = np.asarray(rows, float)
    assert float(concentration.entropy_nats(after)) >= float(concentration.entropy_nats(before)) - 1e-5
    assert float(concentration.herfindahl(after)) <= float(concentration.herfindahl(before)) + 1e-6
    assert float(concentration.gini(after)) <= float(concentration.gini(before)) + 1e-5


@FEW
@given(rows=stakes, copies=st.integers(2, 50))
def test_copies_of_a_network(rows: list[float], copies: int) -> None:
    """Entropy grows by ln k, HHI falls to a k-th, Gini stays: k times the operators, each with a k-th."""
    one = jnp.asarray(rows, float)
    counts = jnp.full(len(rows), float(copies))
    more = float(concentration.entropy_nats(one, counts)) - float(concentration.entropy_nats(one))
    assert more == pytest.approx(math.log(copies), abs=1e-5)
    assert float(concentration.herfindahl(one, counts)) * copies == pytest.approx(
        float(concentration.herfindahl(one)), rel=1e-5
    )
    assert float(concentration.gini(one, counts)) == pytest.approx(float(concentration.gini(one)), abs=1e-5)
