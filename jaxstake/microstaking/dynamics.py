"""A network of stakers over time under a rule for the minimum stake.

Holders come in C size classes, of which each has a share that runs validators and a share that delegates. Every period
both move towards what the yield and the minimum make attractive, and some leave because the price is nervous, small
stakes first. Entries and exits wait at the churn limit. Prices, volatility and the number of holders are given.

With classes from `wealth.size_classes` a run costs the same for any number of holders; with `wealth.sample` every class
is a staker, and the same code runs them one by one.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import established, every, poison
from jaxstake.core.numerics import as_float, safe_log
from jaxstake.core.pytree import branch, leaf, pytree
from jaxstake.core.solve import solve_bracketed
from jaxstake.microstaking import policy as rules
from jaxstake.microstaking import population as people
from jaxstake.microstaking.liquidity import soft_release
from jaxstake.microstaking.market_paths import DAYS_PER_YEAR, MarketPath
from jaxstake.microstaking.network import DynamicsScenario, Period, State, validate
from jaxstake.microstaking.operators import delegated_shares
from jaxstake.microstaking.policy import MinimumStakePolicy
from jaxstake.microstaking.preferences import solo_inclination, willing_share
from jaxstake.microstaking.security import corruption_probability, operator_quality
from jaxstake.microstaking.wealth import SizeClasses
from jaxstake.protocol.forks import epochs_per_day
from jaxstake.protocol.queues import activation_churn_limit, exit_churn_limit


@pytree
class FixedParts:
    """What does not change over time: by class, weights of the sums over solo stakers [5, C], and sums over pools."""

    ether: jax.Array = leaf()
    log_size: jax.Array = leaf()
    log_width: Any = leaf()
    inclined: jax.Array = leaf()
    hazard: jax.Array = leaf()
    sums: jax.Array = leaf()
    pool_herfindahl: jax.Array = leaf()
    pool_entropy: jax.Array = leaf()
    pools: float = leaf()
    curve: people.Yield = branch()


def initial_state(scenario: DynamicsScenario, classes: SizeClasses) -> State:
    """The network at rest: the present minimum, normal volatility, empty queues, a full reserve.

    Equation: `share = target m / (m + h)` in every class, `m` the part of the gap closed and `h` the exits of a period,
    at the stake T whose yield makes the shares add up to T.

    Args:
        scenario: numbers.
        classes: sizes and numbers of holders [C].

    Raises:
        ValueError: a concrete value is out of range.
    """
    ok = validate(scenario)
    with established():
        fixed = fixed_parts(scenario, classes)
        v = as_float(scenario.initial_minimum_eth)

        def shares(total: Any) -> tuple[jax.Array, jax.Array]:
            willing = _willing(scenario, people.yield_at(fixed.curve, total), 1.0)
            move, leave = _paces(scenario, fixed, 1.0)
            rest = move / (move + leave)
            solo = rest * willing[0] * fixed.inclined * _gate(scenario, fixed, jnp.log(v))
            return solo, rest * _pooled_target(willing, solo)

        def excess(log_total: Any) -> Any:
            solo, pooled = shares(jnp.exp(log_total))
            return jnp.log(jnp.sum(fixed.ether * (solo + pooled))) - log_total

        top = jnp.log(jnp.sum(fixed.ether))
        total = jnp.exp(solve_bracketed(excess, low=top - 25.0, high=top).value)
        solo, pooled = shares(total)
    zero = jnp.zeros_like(total)
    state = State(
        solo=solo,
        pooled=pooled,
        entering_eth=zero,
        leaving_eth=zero,
        active_eth=jnp.sum(fixed.ether * (solo + pooled)),
        validators=total / v,
        reserve_eth=jnp.asarray(scenario.layer.capacity, total.dtype),
    )
    return jax.tree.map(lambda value: poison(ok, value), state)


def simulate(
    policy: MinimumStakePolicy,
    scenario: DynamicsScenario,
    *,
    classes: SizeClasses,
    path: MarketPath,
) -> tuple[State, Period]:
    """Run the network along a path.

    Every period: the minimum from the policy at the count and volatility of its start; the yield of the active stake;
    in each class, entries towards the shares that the yield and the minimum make attractive, and exits of
    `h_0 exp(kappa (sigma - sigma*)) (w/32)^-zeta` a year and of those whom the yield no longer contents; both into
    their queues, and out of them up to the churn limits of the fork. The minimum holds for who joins: a solo staker
    below a minimum that has risen may stay, as a validator whose balance has fallen may.

    Nothing is lost: `active' = active + admitted - released`, and the stake of all classes is `active + entering -
    leaving`, both to rounding.

    Args:
        policy: the rule, smooth at its limits.
        scenario: numbers.
        classes: sizes and numbers of holders [C].
        path: prices, volatility and holders [T].

    Returns:
        State at the end, and what happened, each leaf [T].

    Raises:
        ValueError: a concrete value is out of range.

    Example:
        >>> from jaxstake.microstaking import market_paths, wealth
        >>> scenario = DynamicsScenario()
        >>> path = market_paths.market_path(market_paths.PathLaw(), key=jax.random.key(0), periods=52)
        >>> classes = wealth.size_classes(scenario.population.wealth, classes=64)
        >>> end, periods = simulate(MinimumStakePolicy(base_eth=16.0), scenario, classes=classes, path=path)
        >>> bool(periods.solo_stakers[-1] > periods.solo_stakers[0])
        True
    """
    ok = every(validate(scenario), rules.validate(policy))
    start = initial_state(scenario, classes)
    with established():
        fixed = fixed_parts(scenario, classes)

        def advance(state: State, now: MarketPath) -> tuple[State, Period]:
            return _period(policy, scenario, fixed, state, now)

        end, periods = jax.lax.scan(jax.checkpoint(advance), start, path)
    return jax.tree.map(lambda value: poison(ok, value), (end, periods))


def _period(
    policy: MinimumStakePolicy, scenario: DynamicsScenario, fixed: FixedParts, state: State, now: MarketPath
) -> tuple[State, Period]:
    v = rules.soft_minimum_stake(policy, validators=state.validators, volatility=now.volatility)
    offered = people.yield_at(fixed.curve, state.active_eth)
    willing = _willing(scenario, offered, now.holders)
    nervous = jnp.exp(scenario.behaviour.volatility_response * (now.volatility - policy.reference_volatility))
    move, leave = _paces(scenario, fixed, nervous)
    inclined = willing[0] * fixed.inclined
    admissible = inclined * _gate(scenario, fixed, jnp.log(v))
    gap = move * (_pooled_target(willing, state.solo) - state.pooled)
    joining = move * jnp.maximum(admissible - state.solo, 0.0), jnp.maximum(gap, 0.0)
    leaving = (
        leave * state.solo + move * jnp.maximum(state.solo - inclined, 0.0),
        leave * state.pooled - jnp.minimum(gap, 0.0),
    )
    solo, pooled = state.solo + joining[0] - leaving[0], state.pooled + joining[1] - leaving[1]
    # Products and not sums of products: each vector is then computed once and not again in every sum.
    flow = _queues(scenario, state, (joining[0] + joining[1]) @ fixed.ether, (leaving[0] + leaving[1]) @ fixed.ether)
    solo_sums, pooled_eth = fixed.sums @ solo, fixed.ether @ pooled
    spread = _spread(scenario, fixed, solo_sums, pooled_eth)
    traded = scenario.turnover * (pooled_eth + scenario.solo_turnover * solo_sums[0])
    base = traded / now.volatility
    opened = soft_release(
        scenario.layer,
        reserve=state.reserve_eth,
        pressure=flow["asked_eth"] / (base * scenario.days),
        volatility=now.volatility,
        days=scenario.days,
    )
    validators = state.active_eth / v
    after = State(
        solo=solo,
        pooled=pooled,
        entering_eth=flow["entering_eth"],
        leaving_eth=flow["leaving_eth"],
        active_eth=state.active_eth + flow["admitted_eth"] - flow["released_eth"],
        validators=validators,
        reserve_eth=opened.reserve,
    )
    del flow["asked_eth"]
    return after, Period(
        minimum_stake_eth=v,
        yield_per_year=offered,
        active_eth=state.active_eth,
        solo_eth=solo_sums[0],
        pooled_eth=pooled_eth,
        validators=validators,
        liquidity_eth=base + opened.released / scenario.days,
        **spread,
        **flow,
    )


def fixed_parts(scenario: DynamicsScenario, classes: SizeClasses) -> FixedParts:
    """What does not change over time, from numbers that have been checked."""
    population, size = scenario.population, classes.size_eth
    log_size = jnp.log(size)
    inclined = jax.vmap(lambda w: solo_inclination(population.preferences, size_eth=w))(size)
    quality = operator_quality(
        stake_eth=jnp.minimum(size, 32.0), kappa=scenario.kappa_quality, quality_at_32=scenario.quality_at_32
    )
    ether = classes.holders * size
    shares = delegated_shares(population.operators)
    return FixedParts(
        ether=ether,
        log_size=log_size,
        log_width=classes.log_width,
        inclined=inclined,
        hazard=jnp.exp(-scenario.behaviour.size_response * (log_size - jnp.log(32.0))),
        sums=jnp.stack(
            [ether, ether * size, ether * log_size, ether * corruption_probability(quality=quality), classes.holders],
        ),
        pool_herfindahl=jnp.sum(shares * shares),
        pool_entropy=-jnp.sum(shares * safe_log(shares)),
        pools=float(shares.size),
        curve=people.yield_curve(population),
    )


def _willing(scenario: DynamicsScenario, offered: Any, holders: Any) -> tuple[jax.Array, jax.Array]:
    """Holders, over their mean number, whom the yield contents: before a pool's fee and after it."""
    preferences = scenario.population.preferences
    alone = willing_share(preferences, offered=offered)
    through = willing_share(preferences, offered=offered * (1.0 - preferences.fee))
    return holders * alone, holders * through


def _pooled_target(willing: tuple[Any, Any], solo: jax.Array) -> jax.Array:
    """Share of each class that would delegate: of those whom the yield contents after the fee, who are not solo."""
    return willing[1] * jnp.maximum(1.0 - solo / willing[0], 0.0)


def _gate(scenario: DynamicsScenario, fixed: FixedParts, log_minimum: jax.Array) -> jax.Array:
    """Part of each class above the minimum: a logistic step, averaged over the width of the class.

    Averaged, and not taken in the middle, because many a class is wider than the step.
    """
    tau = scenario.behaviour.gate_temperature
    place = (fixed.log_size - log_minimum) / tau
    if fixed.log_width is None:
        return jax.nn.sigmoid(place)
    half = 0.5 * fixed.log_width / tau
    return (jax.nn.softplus(place + half) - jax.nn.softplus(place - half)) / (2.0 * half)


def _paces(scenario: DynamicsScenario, fixed: FixedParts, nervous: Any) -> tuple[Any, jax.Array]:
    """Parts of the gap closed, and of each class that leaves, in a period."""
    years = scenario.days / DAYS_PER_YEAR
    move = -jnp.expm1(-as_float(scenario.behaviour.adjustment) * years)
    return move, jnp.minimum(scenario.behaviour.exit_hazard * years * nervous * fixed.hazard, 1.0)


def _queues(scenario: DynamicsScenario, state: State, entries: jax.Array, exits: jax.Array) -> dict[str, jax.Array]:
    fork, days = scenario.population.fork, scenario.days
    per_period = epochs_per_day(fork) * days
    waiting_in, waiting_out = state.entering_eth + entries, state.leaving_eth + exits
    limit_in = activation_churn_limit(fork, total_stake_eth=state.active_eth) * per_period
    limit_out = exit_churn_limit(fork, total_stake_eth=state.active_eth) * per_period
    admitted, released = jnp.minimum(waiting_in, limit_in), jnp.minimum(waiting_out, limit_out)
    return {
        "entries_eth": entries,
        "exits_eth": exits,
        "asked_eth": waiting_out,
        "admitted_eth": admitted,
        "released_eth": released,
        "entering_eth": waiting_in - admitted,
        "leaving_eth": waiting_out - released,
        "wait_days": waiting_out / limit_out * days,
    }


def _spread(scenario: DynamicsScenario, fixed: FixedParts, solo: jax.Array, pooled: jax.Array) -> dict[str, jax.Array]:
    """Concentration over pools and solo stakers, from the sums over solo stakers."""
    ether, ether_size, ether_log, corrupt, number = (solo[place] for place in range(5))
    total = ether + pooled
    pool_share, log_total = pooled / total, jnp.log(total)
    herfindahl = jnp.square(pool_share) * fixed.pool_herfindahl + ether_size / jnp.square(total)
    entropy = pool_share * (fixed.pool_entropy - safe_log(pool_share)) - ether_log / total + ether / total * log_total
    sound = corruption_probability(quality=scenario.quality_at_32)
    return {
        "solo_stakers": number,
        "herfindahl": herfindahl,
        "entropy_nats": entropy,
        "normalised_entropy": entropy / jnp.log(fixed.pools + number),
        "corruption": pool_share * sound + corrupt / total,
    }
