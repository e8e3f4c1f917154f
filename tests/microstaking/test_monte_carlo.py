"""The Monte Carlo against closed expectations of lognormal stakes, with its own standard errors as the tolerance."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxstake.core import leaves
from jaxstake.microstaking import assessment, monte_carlo, pools
from jaxstake.microstaking.monte_carlo import MonteCarloScenario

NUMBER, STAKERS = 48, 2_000
SIGMAS = (0.05, 0.3, 0.8)
MUS = (2.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def key() -> jax.Array:
    return jax.random.key(20260822)


@pytest.fixture(scope="module")
def batch(key: jax.Array) -> monte_carlo.Outcomes:
    """Draws [scenario, D]; all with the same normal numbers. The last scenario is out of range."""

    def one(mu: Any, sigma: Any) -> monte_carlo.Outcomes:
        scenario = leaves.replace(MonteCarloScenario(), {"mu": mu, "sigma": sigma})
        return monte_carlo.draws(scenario, key=key, number=NUMBER, stakers=STAKERS, batch=8)

    sigma = jnp.asarray([*SIGMAS, SIGMAS[1], -0.5], float)
    mu = jnp.asarray([*MUS, 9.0, 4.0], float)
    return jax.jit(jax.vmap(one))(mu, sigma)


def row(batch: monte_carlo.Outcomes, number: int) -> monte_carlo.Outcomes:
    return jax.tree.map(lambda values: values[number], batch)


@pytest.mark.parametrize("place", range(3))
def test_closed_expectations(batch: monte_carlo.Outcomes, place: int, x64: bool) -> None:
    """Within four standard errors and the bias of a finite population, of order 1/n.

    Nakamoto by the Lorenz curve: the top share u of lognormal stakers holds `Phi(Phi^-1(u) + sigma)`.
    """
    found, sigma, mu = monte_carlo.estimates(row(batch, place)), SIGMAS[place], MUS[place]
    wanted = {
        "herfindahl": math.exp(sigma**2) / STAKERS,
        "entropy_nats": math.log(STAKERS) - sigma**2 / 2,
        "normalised_entropy": 1 - sigma**2 / 2 / math.log(STAKERS),
        "gini": 2 * stats.norm.cdf(sigma / math.sqrt(2)) - 1,
        "stake_eth": STAKERS * math.exp(mu + sigma**2 / 2),
        "nakamoto_finality": STAKERS * stats.norm.sf(sigma - stats.norm.ppf(1 / 3)),
        "nakamoto_fork_choice": STAKERS * stats.norm.sf(sigma),
    }
    for name, value in wanted.items():
        estimate = getattr(found, name)
        bias = 3 * math.expm1(4 * sigma**2) / STAKERS * abs(value) + (1e-9 if x64 else 1e-4) * abs(value)
        assert abs(float(estimate.mean) - value) < 4 * float(estimate.standard_error) + bias, name


def test_without_spread_all_are_equal(key: jax.Array, x64: bool) -> None:
    equal = monte_carlo.outcome(MonteCarloScenario(sigma=0.0), normals=jax.random.normal(key, (STAKERS,), float))
    assert float(equal.nakamoto_finality) == pytest.approx(STAKERS / 3, rel=1e-9 if x64 else 1e-4)
    assert float(equal.herfindahl) == pytest.approx(1 / STAKERS, rel=1e-9 if x64 else 1e-5)
    assert float(equal.gini) == pytest.approx(0, abs=1e-5)


def test_mu_moves_the_stake_and_nothing_of_security_and_centralisation(batch: monte_carlo.Outcomes) -> None:
    """At the scenario's own total stake; rows 1 and 3 differ in mu by 5 only."""
    small, large = row(batch, 1), row(batch, 3)
    for field in dataclasses.fields(small):
        found, other = np.asarray(getattr(large, field.name)), np.asarray(getattr(small, field.name))
        if field.name in ("stake_eth", "liquidity", "depth_eth"):
            np.testing.assert_allclose(found, math.exp(5.0) * other, rtol=1e-3, err_msg=field.name)
        elif field.name == "slippage":
            assert np.all(found < other)
        else:
            np.testing.assert_array_equal(found, other, err_msg=field.name)


def test_every_draw_has_its_own_outcome_and_a_bad_lane_is_nan(batch: monte_carlo.Outcomes) -> None:
    for field in dataclasses.fields(batch):
        values = np.asarray(getattr(batch, field.name))
        assert values.shape == (5, NUMBER)
        assert np.all(np.isfinite(values[:4])), field.name
        assert np.all(np.isnan(values[4])), field.name
    assert len(set(np.asarray(batch.gini)[1].tolist())) == NUMBER


def test_common_random_numbers(batch: monte_carlo.Outcomes) -> None:
    """Log stakes of one draw are the same normals: outcomes of neighbouring scenarios move together."""
    first, second = np.asarray(batch.gini)[1:3]
    assert np.corrcoef(first, second)[0, 1] > 0.6


def test_one_draw_against_numpy(x64: bool, rng: np.random.Generator) -> None:
    z = rng.standard_normal(STAKERS)
    scenario = MonteCarloScenario()
    found = monte_carlo.outcome(scenario, normals=jnp.asarray(z, float))
    w = np.exp(scenario.mu + scenario.sigma * z)
    p = w / w.sum()
    slack = 1e-9 if x64 else 2e-4
    factor = w.sum() / scenario.pool_stake_eth
    pool = pools.scaled(scenario.pool, factor=factor)
    wanted = {
        "stake_eth": w.sum(),
        "liquidity": scenario.turnover * w.sum() / scenario.volatility,
        "herfindahl": (p**2).sum(),
        "entropy_nats": stats.entropy(p),
        "normalised_entropy": stats.entropy(p) / math.log(STAKERS),
        "gini": np.abs(p[:, None] - p[None, :]).mean() / (2 * p.mean()),
        "slippage": float(pools.slippage(pool, amount_in=1_000.0)),
        "depth_eth": factor * float(pools.depth(scenario.pool, half_width=0.01)),
        "security_level": float(assessment.assess(scenario.security, stakes=jnp.asarray(w, float)).level),
    }
    for name, value in wanted.items():
        assert float(getattr(found, name)) == pytest.approx(value, rel=slack), name


def test_modes_agree_and_batches_do_not_matter(key: jax.Array, batch: monte_carlo.Outcomes, x64: bool) -> None:
    """Eager, compiled and mapped over scenarios; in whole batches of 8 and in those of 7 with a rest."""
    scenario = leaves.replace(MonteCarloScenario(), {"mu": MUS[1], "sigma": SIGMAS[1]})
    slack = 1e-9 if x64 else 3e-4
    draw = lambda s: monte_carlo.draws(s, key=key, number=NUMBER, stakers=STAKERS, batch=7)  # noqa: E731
    compiled = jax.jit(draw)(scenario)
    keys = jax.random.split(key, NUMBER)
    eager = monte_carlo.outcome(scenario, normals=jax.random.normal(keys[3], (STAKERS,), float))
    for name, values in leaves.as_dict(compiled).items():
        np.testing.assert_allclose(values, leaves.get(batch, name)[1], rtol=slack, err_msg=name)
        np.testing.assert_allclose(values[3], leaves.get(eager, name), rtol=slack, err_msg=name)


def test_estimates_by_hand(batch: monte_carlo.Outcomes, x64: bool) -> None:
    values = np.asarray(batch.gini)[2].astype(float)
    found = monte_carlo.estimates(row(batch, 2), levels=(25, 50)).gini
    slack = 1e-12 if x64 else 1e-5
    assert float(found.mean) == pytest.approx(values.mean(), rel=slack)
    assert float(found.standard_error) == pytest.approx(values.std(ddof=1) / math.sqrt(NUMBER), rel=100 * slack)
    np.testing.assert_allclose(found.percentiles, np.percentile(values, (25, 50)), rtol=slack)


def test_standard_errors_are_those_of_repeated_runs(x64: bool) -> None:
    """The spread of means over independent keys is the standard error that a run states."""

    def one(key: jax.Array) -> Any:
        z = jax.random.normal(key, (30, 40), float)
        return jax.vmap(lambda row: jax.nn.softmax(0.3 * row) @ jax.nn.softmax(0.3 * row))(z)

    runs = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), 200))
    found = monte_carlo.Outcomes(**dict.fromkeys((f.name for f in dataclasses.fields(monte_carlo.Outcomes)), runs))
    stated = np.asarray(jax.vmap(lambda of: monte_carlo.estimates(of).gini.standard_error)(found))
    assert runs.dtype == (np.float64 if x64 else np.float32)
    spread = np.asarray(runs).mean(axis=1).std(ddof=1)
    assert math.sqrt(np.mean(stated**2)) == pytest.approx(spread, rel=0.2)


@pytest.mark.usefixtures("only_x64")
def test_gradient_of_means_in_sigma(key: jax.Array) -> None:
    """By reparameterisation, against central differences with the same numbers; and the sign that theory gives."""
    names = ("security_level", "herfindahl", "entropy_nats", "gini", "nakamoto_finality", "slippage", "depth_eth")

    def means(sigma: Any) -> jax.Array:
        scenario = leaves.replace(MonteCarloScenario(), {"sigma": sigma})
        found = monte_carlo.draws(scenario, key=key, number=4, stakers=400, batch=2)
        return jnp.stack([jnp.mean(getattr(found, name)) for name in names])

    sigma, step = 0.8, 1e-4
    compiled = jax.jit(means)
    value = compiled(sigma)
    slopes = (compiled(sigma + step) - compiled(sigma - step)) / (2 * step)
    signs = dict(zip(names, np.sign(slopes), strict=True))
    assert (signs["herfindahl"], signs["gini"], signs["entropy_nats"], signs["security_level"]) == (1, 1, -1, -1)
    weights = 1 / jnp.abs(slopes)  # every outcome moves the sum alike
    each = weights * jnp.where(slopes > 0, 1.0, -1.0) * jnp.arange(1.0, 8.0)
    backward = jax.jit(jax.grad(lambda s: each @ means(s)))(sigma)
    assert float(backward) == pytest.approx(28.0, rel=2e-5)
    assert np.all(np.isfinite(value))


def test_other_pools_fit(x64: bool) -> None:
    pool = pools.ConstantProduct(reserve_x=1e6, reserve_y=1e6)
    scenario = MonteCarloScenario(pool=pool, pool_stake_eth=10.0 * STAKERS, mu=math.log(10.0), sigma=0.0)
    found = monte_carlo.outcome(scenario, normals=jnp.zeros(STAKERS))
    assert float(found.slippage) == pytest.approx(1_000 / 1_001_000, rel=1e-9 if x64 else 1e-4)


def test_bad_input(key: jax.Array) -> None:
    scenario = MonteCarloScenario()
    for name in ("number", "stakers", "batch"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            monte_carlo.draws(scenario, key=key, **{name: 0})
    with pytest.raises(ValueError, match=r"sigma must be at least 0 and finite, got -1\.0"):
        monte_carlo.draws(MonteCarloScenario(sigma=-1.0), key=key, number=1, stakers=2)
    changed = leaves.replace(scenario, {"pool.reserve_x": 0.0})
    with pytest.raises(ValueError, match=r"pool\.reserve_x must be greater than 0 and finite, got 0\.0"):
        monte_carlo.draws(changed, key=key, number=1, stakers=2)
    with pytest.raises(ValueError, match=r"normals must be a vector \[N\] of at least one element, got shape \(0,\)"):
        monte_carlo.outcome(scenario, normals=jnp.zeros(0))
    one = monte_carlo.Outcomes(**dict.fromkeys((f.name for f in dataclasses.fields(monte_carlo.Outcomes)), jnp.ones(1)))
    with pytest.raises(ValueError, match=r"found must hold at least 2 draws \[D\], got shape \(1,\)") as error:
        monte_carlo.estimates(one)
    assert "D" in str(error.value)
