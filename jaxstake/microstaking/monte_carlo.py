"""Monte Carlo of micro-staking: every draw is a whole population of stakers, and has its own security and liquidity.

Source: Micro-staking analysis, section 3.1. The code printed there draws one population, throws its two scores away
and returns three empty lists; here each draw returns all outcomes, and their means have standard errors.

One key gives the same standard normal numbers to every scenario (common random numbers), so that differences and
gradients over scenarios carry no noise of their own. Batch over scenarios with `jax.vmap`, not over keys.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import in_domains, poison
from jaxstake.core.domain import FINITE, NON_NEGATIVE, POSITIVE
from jaxstake.core.numerics import as_float
from jaxstake.core.order_statistics import percentiles
from jaxstake.core.pytree import branch, leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.microstaking import concentration, liquidity, pools
from jaxstake.microstaking.assessment import SecurityScenario, assess
from jaxstake.microstaking.security import STOPS_FINALITY, WINS_FORK_CHOICE

LEVELS = (5.0, 50.0, 95.0)
"""Percentiles of a summary."""


def _reference_pool() -> pools.StableSwap:
    return pools.StableSwap(reserve_x=576_444.26, reserve_y=613_061.58, amplification=50.0)


@pytree
class MonteCarloScenario:
    """A population of stakers and the market of what they stake. Security has its own numbers, and its own total stake.

    `mu` and `sigma` describe the 47,652 owners of 2025-10-21 (mean and deviation of ln ETH, groups at their mean).
    """

    mu: Scalar = leaf(default=3.872, domain=FINITE, meaning="mean of the logarithm of a stake in ETH")
    sigma: Scalar = leaf(default=1.160, domain=NON_NEGATIVE, meaning="deviation of the logarithm of a stake")
    # Judgement: half of what is staked changes hands in a year.
    turnover: Scalar = leaf(default=0.5, unit="1/year", domain=NON_NEGATIVE, meaning="traded per year, over the stake")
    # Median over windows of 30 days, daily closes 2021 to 2025.
    volatility: Scalar = leaf(default=0.693, unit="1/sqrt(year)", domain=POSITIVE, meaning="volatility of the price")
    # Curve's stETH/ETH pool on 2022-02-28; any pool of `pools` will do.
    pool: Any = branch(default_factory=_reference_pool)
    # 300,532 validators of 32 ETH were active on that day; the pool grows and shrinks with the stake that is drawn.
    pool_stake_eth: Scalar = leaf(
        default=9_617_024.0, unit="ETH", domain=POSITIVE, meaning="stake at which the pool is such"
    )
    trade_eth: Scalar = leaf(default=1_000.0, unit="ETH", domain=NON_NEGATIVE, meaning="sale whose slippage is asked")
    half_width: Scalar = leaf(default=0.01, unit="ETH", domain=POSITIVE, meaning="half of the band of market depth")
    security: SecurityScenario = branch(default_factory=SecurityScenario)


@pytree
class Outcomes:
    """What one draw gives; from `draws` each is [D], from `means` the mean with its standard error."""

    stake_eth: Any = leaf(unit="ETH", meaning="sum of the stakes drawn")
    security_level: Any = leaf(meaning="-log10 of the daily chance of an attack, at the scenario's total stake")
    security: Any = leaf(meaning="1 less that chance")
    liquidity: Any = leaf(unit="ETH/year", meaning="turnover times stake over volatility, V / (P sigma)")
    depth_eth: Any = leaf(unit="ETH", meaning="depth of the pool, scaled by the stake")
    slippage: Any = leaf(meaning="slippage of the trade in that pool")
    herfindahl: Any = leaf(meaning="chance that two ether belong to one staker")
    entropy_nats: Any = leaf(unit="nats", meaning="entropy of the stake over stakers")
    normalised_entropy: Any = leaf(meaning="entropy over its largest value")
    gini: Any = leaf(meaning="Gini coefficient")
    nakamoto_finality: Any = leaf(meaning="stakers who hold a third, interpolated")
    nakamoto_fork_choice: Any = leaf(meaning="stakers who hold a half, interpolated")


@pytree
class Estimate:
    """Mean of an outcome over draws, its standard error, and percentiles of the single draws."""

    mean: Scalar = leaf(meaning="mean over draws")
    standard_error: Scalar = leaf(meaning="deviation over draws, with D - 1, over the root of their number")
    percentiles: Any = leaf(meaning="[L] percentiles over draws")


def outcome(scenario: MonteCarloScenario, *, normals: jax.Array) -> Outcomes:
    """Security, liquidity and centralisation of one population, from its standard normal numbers.

    Equation: stakes `w_i = e^(mu + sigma z_i)`, so that shares are `softmax(sigma z)` and do not depend on mu. Security
    is `assess` at those shares; liquidity `turnover sum(w) / volatility`; the pool is that of the scenario times
    `sum(w) / pool_stake_eth`.

    Args:
        scenario: numbers.
        normals: [N] one standard normal number for each staker, N >= 1.

    Returns:
        `Outcomes` of scalars.

    Raises:
        ValueError: normals is not a vector of at least one element, or a concrete leaf is out of its domain.

    Example:
        >>> found = outcome(MonteCarloScenario(sigma=0.0), normals=jnp.zeros(100))
        >>> print(f"{found.herfindahl:.3f} {found.normalised_entropy:.3f} {found.nakamoto_finality:.2f}")
        0.010 1.000 33.33
    """
    ok = in_domains(scenario)
    z = as_float(normals)
    if z.ndim != 1 or not z.size:
        raise ValueError(f"normals must be a vector [N] of at least one element, got shape {z.shape}")
    shares = jax.nn.softmax(scenario.sigma * z)
    stake = jnp.exp(as_float(scenario.mu) + jax.nn.logsumexp(scenario.sigma * z))
    safety = assess(scenario.security, stakes=shares)
    # The price cancels: volume is in money, and liquidity in ether.
    indicator = liquidity.liquidity_indicator(
        volume=as_float(scenario.turnover) * stake, price=1.0, volatility=scenario.volatility
    )
    pool = pools.scaled(scenario.pool, factor=stake / scenario.pool_stake_eth)
    result = Outcomes(
        stake_eth=stake,
        security_level=safety.level,
        security=safety.security,
        liquidity=indicator,
        depth_eth=pools.depth(pool, half_width=scenario.half_width),
        slippage=pools.slippage(pool, amount_in=scenario.trade_eth),
        herfindahl=concentration.herfindahl(shares),
        entropy_nats=concentration.entropy_nats(shares),
        normalised_entropy=concentration.normalised_entropy(shares),
        gini=concentration.gini(shares),
        nakamoto_finality=concentration.nakamoto_interpolated(shares, theta=STOPS_FINALITY),
        nakamoto_fork_choice=concentration.nakamoto_interpolated(shares, theta=WINS_FORK_CHOICE),
    )
    return jax.tree.map(lambda value: poison(ok, value), result)


def draws(
    scenario: MonteCarloScenario, *, key: jax.Array, number: int = 1_000, stakers: int = 10_000, batch: int = 16
) -> Outcomes:
    """Outcomes of many independent populations, each of `stakers` lognormal stakes.

    Memory is that of `batch` populations, whatever their number, in a gradient too: populations are drawn inside the
    loop and drawn anew in its reverse pass. Numbers of one key do not depend on `batch`, nor on the scenario.

    Args:
        scenario: numbers.
        key: random key; the same key gives the same populations.
        number: draws D, >= 1, static.
        stakers: stakers of one draw N, >= 1, static.
        batch: populations that are worked on at once, >= 1, static.

    Returns:
        `Outcomes` of [D].

    Raises:
        ValueError: a count is not positive, or a concrete leaf is out of its domain.

    Example:
        >>> found = draws(MonteCarloScenario(), key=jax.random.key(1), number=3, stakers=50)
        >>> found.gini.shape, bool(jnp.all(found.gini > 0.4))
        ((3,), True)
    """
    for name, count in (("number", number), ("stakers", stakers), ("batch", batch)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    in_domains(scenario)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def one(population_key: jax.Array) -> Outcomes:
        return outcome(scenario, normals=jax.random.normal(population_key, (stakers,), float))

    return jax.lax.map(one, jax.random.split(key, number), batch_size=batch)


def estimates(found: Outcomes, *, levels: tuple[float, ...] = LEVELS) -> Outcomes:
    """Mean, standard error and percentiles of every outcome.

    Equation: `m = sum(x) / D`, `se = sqrt(sum((x - m)^2) / (D - 1) / D)`.

    Args:
        found: [D] outcomes of `draws`, D at least 2.
        levels: percent, each in [0, 100], static.

    Returns:
        `Outcomes` whose fields are `Estimate`.

    Raises:
        ValueError: there are fewer than two draws, or a level lies outside [0, 100].

    Example:
        >>> spread = estimates(draws(MonteCarloScenario(), key=jax.random.key(1), number=8, stakers=50)).gini
        >>> bool(0 < spread.standard_error < spread.percentiles[2] - spread.percentiles[0])
        True
    """

    def estimate(values: jax.Array) -> Estimate:
        if values.ndim != 1 or values.size < 2:
            raise ValueError(f"found must hold at least 2 draws [D], got shape {values.shape}")
        error = jnp.std(values, ddof=1) / jnp.sqrt(jnp.asarray(values.size, values.dtype))
        return Estimate(mean=jnp.mean(values), standard_error=error, percentiles=percentiles(values, levels=levels))

    return jax.tree.map(estimate, found)


def simulate(
    scenario: MonteCarloScenario,
    *,
    key: jax.Array,
    number: int = 1_000,
    stakers: int = 10_000,
    batch: int = 16,
    levels: tuple[float, ...] = LEVELS,
) -> Outcomes:
    """`estimates` of `draws`: the simulation of section 3.1 in one call, to be mapped over scenarios with `jax.vmap`.

    Arguments, returns and errors as in those two.
    """
    return estimates(draws(scenario, key=key, number=number, stakers=stakers, batch=batch), levels=levels)
