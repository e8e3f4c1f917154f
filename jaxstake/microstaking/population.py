"""Who stakes, and how: holders of ETH who run validators, delegate or abstain, in equilibrium with the yield.

A holder of wealth w asks for a yield of his own. If the network pays it, he runs validators himself with a chance that
falls with his wealth, provided that he has the minimum stake; otherwise he delegates, if the yield is enough after
the fee. Stake lowers the yield, so that stake and yield meet in a fixed point, which is differentiable in everything.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import established, every, in_domains, poison, require_domain
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE, POSITIVE_FRACTION
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import branch, leaf, pytree
from jaxstake.core.solve import solve_bracketed
from jaxstake.core.typing import Scalar
from jaxstake.microstaking import operators as operator_law
from jaxstake.microstaking import wealth as wealth_law
from jaxstake.microstaking.operators import Operators
from jaxstake.microstaking.preferences import Preferences, solo_inclination, willing_share
from jaxstake.microstaking.wealth import SizeClasses, Wealth
from jaxstake.protocol import forks
from jaxstake.protocol.forks import Fork
from jaxstake.protocol.rewards import Participation, Performance, expected_epoch_rewards


@pytree
class Market:
    """What a staked ether earns, beside the fork's rules."""

    # Mainnet, since 2023.
    participation: Scalar = leaf(default=0.99, domain=POSITIVE_FRACTION, meaning="stake that fulfils its duties")
    # Judgement on 2026: 0.015 ETH a block or less.
    execution_income_eth: Scalar = leaf(
        default=35_000.0, unit="ETH/year", domain=NON_NEGATIVE, meaning="MEV and tips of the whole network"
    )


@pytree
class Population:
    """Holders, their preferences, the operators they choose from, and what staking pays."""

    wealth: Wealth = branch(default_factory=Wealth)
    preferences: Preferences = branch(default_factory=Preferences)
    operators: Operators = branch(default_factory=Operators)
    market: Market = branch(default_factory=Market)
    fork: Fork = branch(default_factory=lambda: forks.get(forks.NEWEST_ON_MAINNET))


@pytree
class Supply:
    """What is staked at a yield."""

    solo_eth: Scalar = leaf(unit="ETH", meaning="stake of holders who run validators themselves")
    pooled_eth: Scalar = leaf(unit="ETH", meaning="delegated stake")
    total_eth: Scalar = leaf(unit="ETH", meaning="sum of both")
    solo_holders: Scalar = leaf(meaning="holders who run validators themselves")


@pytree
class Equilibrium:
    """Stake and yield that agree, and the numbers of validators that go with them."""

    yield_per_year: Scalar = leaf(unit="1/year", meaning="yield before a pool's fee")
    supply: Supply = branch()
    solo_share: Scalar = leaf(meaning="stake of solo holders over all stake")
    validators_at_32: Scalar = leaf(meaning="validators, each with 32 ETH")
    validators_at_minimum: Scalar = leaf(meaning="validators, each with the minimum stake")
    validators_consolidated: Scalar = leaf(meaning="validators, each with up to 2,048 ETH")


@pytree
class Yield:
    """The yield as a function of stake: `consensus / sqrt(T) + execution / T`."""

    consensus: Scalar = leaf(unit="sqrt(ETH)/year", meaning="consensus rewards times the root of the stake")
    execution: Scalar = leaf(unit="ETH/year", meaning="MEV and tips")


def validate(population: Population) -> jax.Array | bool:
    """Check every leaf against its domain, and the laws of wealth and operators.

    Raises:
        ValueError: a concrete value breaks a rule.
    """
    return every(
        in_domains(population), wealth_law.validate(population.wealth), operator_law.validate(population.operators)
    )


def yield_curve(population: Population) -> Yield:
    """The two constants of the yield, of which one falls with the root of the stake, the other with the stake.

    Source: `protocol.rewards.expected_epoch_rewards` for one ETH of one ETH at stake, where both the own shares and
    the network's are the participation.
    """
    p = population.market.participation
    with established():
        one = expected_epoch_rewards(
            population.fork,
            effective_balance_eth=1.0,
            total_stake_eth=1.0,
            performance=Performance(source=p, target=p, head=p, sync=p, proposer=p),
            participation=Participation(source=p, target=p, head=p, sync=p),
        )
    yearly = sum(jax.tree.leaves(one)) * forks.epochs_per_year(population.fork)
    return Yield(consensus=yearly, execution=population.market.execution_income_eth)


def staking_yield(population: Population, *, total_stake_eth: Scalar) -> Scalar:
    """Yield of stake per year, before a pool's fee.

    Equation: `y(T) = c / sqrt(T) + X / T`, c from `yield_curve`, X the execution income.

    Args:
        population: holders and market.
        total_stake_eth: stake T, ETH, > 0.

    Raises:
        ValueError: a concrete value is out of range.

    Example:
        >>> print(f"{staking_yield(Population(), total_stake_eth=42e6):.4f}")
        0.0258
    """
    ok = validate(population)
    total = as_float(require_domain("total_stake_eth", total_stake_eth, POSITIVE))
    return poison(ok, yield_at(yield_curve(population), total))


def supply(population: Population, *, offered: Scalar, minimum_stake_eth: Scalar) -> Supply:
    """Stake at a yield, under the hard rule that a solo validator needs the minimum stake: closed form.

    Equation, `M_m(a, b)` the sum of `w^m` over the holders between a and b: `solo = A(y) pi_0 (M_1(v, 32) + 32^kappa
    M_{1-kappa}(max(v, 32), inf))`, `pooled = A(y (1 - fee)) (M_1 - solo / A(y))`.

    Args:
        population: holders and market.
        offered: yield y before the fee, per year, > 0.
        minimum_stake_eth: v, ETH, > 0.

    Returns:
        `Supply`. With a minimum above all wealth nobody runs a validator himself.

    Raises:
        ValueError: a concrete value is out of range.

    Example:
        >>> found = supply(Population(), offered=0.026, minimum_stake_eth=32.0)
        >>> print(f"{found.total_eth / 1e6:.1f} million ETH, {found.solo_eth / found.total_eth:.1%} of it solo")
        42.6 million ETH, 4.8% of it solo
    """
    ok = validate(population)
    v = as_float(require_domain("minimum_stake_eth", minimum_stake_eth, POSITIVE))
    p, wealth = population.preferences, population.wealth
    with established():
        solo = willing_share(p, offered=offered)
        pooled = willing_share(p, offered=as_float(offered) * (1.0 - p.fee))
        able, number = _able(population, v, 1.0), _able(population, v, 0.0)
        everything = wealth_law.partial_moment(wealth, order=1.0, low=wealth.smallest_eth, high=wealth.largest_eth)
    solo_eth, pooled_eth = solo * able, pooled * (everything - able)
    found = Supply(
        solo_eth=solo_eth, pooled_eth=pooled_eth, total_eth=solo_eth + pooled_eth, solo_holders=solo * number
    )
    return jax.tree.map(lambda value: poison(ok, value), found)


def equilibrium(population: Population, *, minimum_stake_eth: Scalar) -> Equilibrium:
    """Stake and yield at which what holders want to stake is what is staked.

    Equation: `T = supply(y(T))`, solved for `ln T` between bounds that always bracket it; its derivatives are those of
    the implicit function. The number of validators is read in three ways: every stake in pieces of 32 ETH, in pieces of
    the minimum, and consolidated: one per solo holder or one per 2,048 ETH, whichever is more, and pools full.

    Args:
        population: holders and market.
        minimum_stake_eth: smallest stake of a solo validator, ETH, > 0.

    Returns:
        `Equilibrium`; NaN if the solver failed.

    Raises:
        ValueError: a concrete value is out of range.

    Example:
        >>> found = equilibrium(Population(), minimum_stake_eth=32.0)
        >>> print(f"{found.supply.total_eth / 1e6:.1f} million ETH at {found.yield_per_year:.2%}")
        42.2 million ETH at 2.58%
        >>> slope = jax.grad(lambda v: equilibrium(Population(), minimum_stake_eth=v).solo_share)(16.0)
        >>> print(f"{slope:.4f} of the stake per ETH of the minimum")
        -0.0006 of the stake per ETH of the minimum
    """
    ok = validate(population)
    v = as_float(require_domain("minimum_stake_eth", minimum_stake_eth, POSITIVE))
    wealth = population.wealth
    with established():
        curve = yield_curve(population)
        everything = wealth_law.partial_moment(wealth, order=1.0, low=wealth.smallest_eth, high=wealth.largest_eth)

        def excess(log_total: Any) -> Any:
            found = supply(population, offered=yield_at(curve, jnp.exp(log_total)), minimum_stake_eth=v)
            return jnp.log(found.total_eth) - log_total

        top = jnp.log(everything)
        total = jnp.exp(solve_bracketed(excess, low=top - 25.0, high=top).value)
        offered = yield_at(curve, total)
        found = supply(population, offered=offered, minimum_stake_eth=v)
        willing = willing_share(population.preferences, offered=offered)
        full = forks.max_effective_balance_eth(population.fork, compounding=True)
        edge = jnp.maximum(v, full)
        alone = willing * (_able(population, v, 0.0) - _able(population, edge, 0.0))
        merged = alone + (willing * _able(population, edge, 1.0) + found.pooled_eth) / full
    result = Equilibrium(
        yield_per_year=offered,
        supply=found,
        solo_share=found.solo_eth / found.total_eth,
        validators_at_32=found.total_eth / 32.0,
        validators_at_minimum=found.total_eth / v,
        validators_consolidated=merged,
    )
    return jax.tree.map(lambda value: poison(ok, value), result)


def operator_rows(
    population: Population, found: Equilibrium, *, minimum_stake_eth: Scalar, classes: int = 256
) -> tuple[jax.Array, jax.Array]:
    """Stake and number of all operators, pools and solo holders, as rows for `concentration` and `assessment`.

    Args:
        population: holders and market, K operators.
        found: their equilibrium at this minimum.
        minimum_stake_eth: smallest stake of a solo validator, ETH, > 0.
        classes: C size classes of solo holders, static.

    Returns:
        [K+C] stake of each row, ETH, and [K+C] number of equal operators that share it: 1 for pools, first the leaders.

    Raises:
        ValueError: a concrete value is out of range.

    Example:
        >>> from jaxstake.microstaking import concentration
        >>> holders = Population()
        >>> found = equilibrium(holders, minimum_stake_eth=32.0)
        >>> stakes, counts = operator_rows(holders, found, minimum_stake_eth=32.0)
        >>> print(f"{concentration.entropy_nats(stakes, counts):.2f} {concentration.herfindahl(stakes, counts):.3f}")
        5.30 0.074
    """
    sizes = wealth_law.size_classes(population.wealth, classes=classes, low=minimum_stake_eth)
    with established():
        inclined = jax.vmap(lambda w: solo_inclination(population.preferences, size_eth=w))(sizes.size_eth)
    number = sizes.holders * inclined
    ether = number * sizes.size_eth
    solo = found.supply.solo_eth / jnp.maximum(jnp.sum(ether), jnp.finfo(ether.dtype).tiny)
    pools = found.supply.pooled_eth * operator_law.delegated_shares(population.operators)
    counts = jnp.maximum(number * solo, jnp.finfo(ether.dtype).tiny)
    return jnp.concatenate([pools, ether * solo]), jnp.concatenate([jnp.ones_like(pools), counts])


def sampled_supply(population: Population, drawn: SizeClasses, *, offered: Scalar, minimum_stake_eth: Scalar) -> Supply:
    """`supply` over holders one by one, such as `wealth.sample` draws them: the closed form's check.

    Args:
        population: preferences.
        drawn: sizes and weights of holders [n].
        offered: yield before the fee, per year, > 0.
        minimum_stake_eth: ETH, > 0.

    Raises:
        ValueError: a concrete value is out of range.
    """
    v = as_float(require_domain("minimum_stake_eth", minimum_stake_eth, POSITIVE))
    p = population.preferences
    solo_willing = willing_share(p, offered=offered)
    pool_willing = willing_share(p, offered=as_float(offered) * (1.0 - p.fee))
    inclined = jax.vmap(lambda w: solo_inclination(p, size_eth=w))(drawn.size_eth)
    able = drawn.holders * inclined * jnp.where(drawn.size_eth >= v, 1.0, 0.0)
    solo = solo_willing * jnp.sum(able * drawn.size_eth)
    pooled = pool_willing * jnp.sum((drawn.holders - able) * drawn.size_eth)
    return Supply(solo_eth=solo, pooled_eth=pooled, total_eth=solo + pooled, solo_holders=solo_willing * jnp.sum(able))


def yield_at(curve: Yield, total: Any) -> Any:
    """The yield at a stake, ETH, without checks: `c / sqrt(T) + X / T`."""
    return curve.consensus / jnp.sqrt(total) + curve.execution / total


def _able(population: Population, low: Any, order: float) -> jax.Array:
    """Sum of `w^order pi(w)` over the holders from `low` on."""
    p, wealth = population.preferences, population.wealth
    small = wealth_law.partial_moment(wealth, order=order, low=low, high=jnp.maximum(low, 32.0))
    power = order - as_float(p.solo_decline)
    large = wealth_law.partial_moment(wealth, order=power, low=jnp.maximum(low, 32.0), high=wealth.largest_eth)
    return p.solo_share_small * (small + 32.0**p.solo_decline * large)
