"""Sampled years against the grid, closed forms and NumPy's own sampling, within standard errors."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxstake.core import leaves
from jaxstake.economy import risk
from jaxstake.economy.block_value import LogNormal
from jaxstake.economy.risk import monte_carlo
from tests.economy.risk_cases import BEHIND, HEAVY, PERFECT, distribution, floats, law, scenario

LANES = 1 << 17
simulate = functools.partial(jax.jit, static_argnames=("lanes", "chunk", "table"))(risk.simulate)
DEVIATIONS = 4.5


def sampled(income: risk.IncomeLaw, *, lanes: int = LANES, seed: int = 0, **more: Any) -> jax.Array:
    return simulate(jax.tree.map(floats, income), key=jax.random.key(seed), lanes=lanes, **more)


def within(estimate: risk.Estimate, exact: Any, *, slack: float = 0.0) -> None:
    assert abs(float(estimate.value) - float(exact)) <= DEVIATIONS * float(estimate.error) + slack


@pytest.mark.parametrize("name", ["lognormal", "heavy"])
@pytest.mark.parametrize("validators", [1.0, 300.0])
def test_sampling_and_transform_agree(name: str, validators: float) -> None:
    income = law(BEHIND, HEAVY if name == "heavy" else LogNormal(log_mean=-4.0, log_std=0.9), validators=validators)
    lanes = LANES if validators == 1.0 else 1 << 13
    drawn, found, exact = sampled(income, lanes=lanes), distribution(income), risk.moments(income)
    assert drawn.shape == (lanes,)
    within(risk.estimate_mean(drawn), exact.mean)
    within(risk.estimate_variance(drawn), exact.variance)
    for level in (0.3, 0.5, 0.9, 0.99):
        within(risk.estimate_quantile(drawn, level=level), risk.quantile(found, level=level), slack=float(found.step))
    for share in (0.05, 0.4):
        exact_tail = risk.lower_tail_mean(found, share=share)
        within(risk.estimate_lower_tail_mean(drawn, share=share), exact_tail, slack=float(found.step))


def test_sampling_equals_numpy(rng: np.random.Generator) -> None:
    income = law(PERFECT, LogNormal(log_mean=-3.0, log_std=1.0))
    count = rng.binomial(int(income.slots), float(income.proposal_chance), LANES)
    payments = rng.lognormal(-3.0, 1.0, int(count.sum()))
    total = np.bincount(np.repeat(np.arange(LANES), count), payments, LANES)
    seats = rng.binomial(321, float(income.seat_chance), LANES)
    steady = float(income.steady_eth) + float(income.fixed_eth) * count + float(income.seat_eth) * seats
    theirs = (steady + total) / float(income.capital_eth_years)
    ours = np.asarray(sampled(income), np.float64)
    assert stats.ks_2samp(np.round(ours, 6), np.round(theirs, 6)).pvalue > 1e-3


def test_counts_follow_the_binomial_and_fall() -> None:
    for slots, chance in ((2_629_800.0, 7.6e-7), (2_629_800.0, 7.6e-3), (40.0, 0.3), (10.0, 0.0)):
        above = monte_carlo._above(slots, chance, size=4096, dtype=jnp.result_type(float))
        first, chances = int(above[0]), np.asarray(above[1])
        number = first + np.arange(4096)
        wanted = stats.binom.sf(number, slots, chance)
        np.testing.assert_allclose(chances, wanted, atol=2e-4 if chances.dtype != np.float64 else 1e-12, rtol=1e-6)
        counts = np.asarray(monte_carlo._sorted_counts(above, key=jax.random.key(3), lanes=5_000))
        assert np.all(np.diff(counts) <= 0)
        # One lane a stratum: the empirical chances of more are within one lane of the binomial's.
        found = np.asarray([(counts > n).mean() for n in number[::50]])
        assert np.abs(found - wanted[::50]).max() <= 1.5 / 5_000 + 2e-4
        free = np.asarray(monte_carlo._counts(above, key=jax.random.key(4), lanes=5_000))
        assert abs(free.mean() - slots * chance) <= 5 * np.sqrt(slots * chance / 5_000)


def test_chunks_change_the_draws_and_not_the_law() -> None:
    income = law({})
    whole, parts = sampled(income, chunk=LANES), sampled(income, chunk=1000)
    assert parts.shape == (LANES,)
    gap = float(jnp.mean(whole) - jnp.mean(parts))
    assert abs(gap) <= 5 * float(risk.estimate_mean(whole).error)
    few = sampled(income, lanes=7)
    assert few.shape == (7,)
    assert np.all(np.isfinite(few))


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_keys_of_any_kind(impl: str) -> None:
    drawn = [risk.simulate_years(scenario({}), key=jax.random.key(seed, impl=impl), lanes=512) for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_ten_thousand_validators(x64: bool) -> None:
    income = law({}, validators=10_000.0)
    drawn = sampled(income, lanes=256)
    exact = risk.moments(income)
    within(risk.estimate_mean(drawn), exact.mean, slack=0.0 if x64 else 1e-6)
    assert float(jnp.var(drawn)) == pytest.approx(float(exact.variance), rel=0.5)


def test_payments_have_a_gradient() -> None:
    def mean(log_mean: Any) -> Any:
        income = leaves.replace(law({}), {"block_value.log_mean": log_mean})
        return jnp.mean(risk.simulate(income, key=jax.random.key(0), lanes=2_000))

    slope = jax.jvp(mean, (floats(-4.5),), (floats(1.0),))[1]
    income = leaves.replace(law({}), {"block_value.log_mean": -4.5})
    payment = float(risk.moments(risk.execution_only(income)).mean)
    assert float(slope) == pytest.approx(payment, rel=0.1)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="lanes and chunk must be at least 1 and table at least 2, got 0"):
        risk.simulate(law({}), key=jax.random.key(0), lanes=0)
    with pytest.raises(ValueError, match=r"table must be at least .*, the counts within 8 deviations"):
        risk.simulate(law({}, validators=100.0), key=jax.random.key(0), lanes=4, table=64)
    with pytest.raises(ValueError, match=r"a level must be in \(0, 1\), got 1\.5"):
        risk.estimate_quantile(jnp.ones(3), level=1.5)
    short = sampled(law({}, validators=100.0), lanes=4, table=64)
    assert np.isnan(short).all()
    assert np.isnan(sampled(leaves.replace(law({}), {"seat_chance": 1.5}), lanes=4)).all()
