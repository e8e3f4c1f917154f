"""Years drawn at random: the same law of income by sampling, with standard errors."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.core.checks import confirm, every, in_domains, poison
from jaxstake.core.order_statistics import percentiles
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy import block_value
from jaxstake.economy.risk.income import IncomeLaw, income_law
from jaxstake.economy.risk.keep import kept_leaves
from jaxstake.economy.scenario import Scenario

CPU_CHUNK = 1 << 16
"""Lanes at a time on a CPU; elsewhere all at once."""

BLOCK = 1 << 14
"""Payments drawn at a time at least; more than one per lane where there are few lanes."""

_DEVIATIONS = 8.0


@pytree
class Estimate:
    """An estimate from a sample and its standard error, for independent draws; those of `simulate_years` do better."""

    value: Any = leaf()
    error: Any = leaf()


def simulate_years(
    scenario: Scenario,
    *,
    key: jax.Array,
    lanes: int,
    validators: Scalar = 1.0,
    years: Scalar = 1.0,
    chunk: int | None = None,
    table: int = 1 << 12,
) -> jax.Array:
    """Gross returns per year of an operator with k validators, drawn independently of the grid; see `simulate`.

    Args:
        scenario: scalars.
        key: new style, from `jax.random.key`, of any implementation.
        lanes: number of horizons to draw; static.
        validators: number of validators k, >= 1.
        years: length of the horizon, > 0.
        chunk: lanes at a time; by default 2^16 on a CPU and all of them elsewhere; static.
        table: counts of proposals, and of seats, that the tables hold; static.

    Returns:
        [lanes] returns per year, in order of falling number of proposals.

    Raises:
        ValueError: as `income_law` and `simulate`.

    Example:
        >>> drawn = simulate_years(Scenario(), key=jax.random.key(0), lanes=20_000)
        >>> print(f"{jnp.mean(drawn):.2%}")
        2.62%
    """
    law = income_law(scenario, validators=validators, years=years)
    return simulate(law, key=key, lanes=lanes, chunk=chunk, table=table)


def simulate(
    law: IncomeLaw, *, key: jax.Array, lanes: int, chunk: int | None = None, table: int = 1 << 12
) -> jax.Array:
    """Returns drawn from a law of income.

    The number of proposals of lane i is the binomial count that a chance in `[i / lanes, (i + 1) / lanes]` is left
    above: one lane in each stratum, so that the counts come sorted, cost no sort, and vary less than independent ones.
    Every expectation over all lanes is unbiased, and standard errors for independent lanes overstate the error; but a
    lane's place says how many proposals it has, so permute the lanes before taking some of them. Payments are drawn
    for all lanes of a chunk at once until the lane with most has its own. The counts have no gradient; payments have
    that of `block_value.sample`.

    Args:
        law: scalars.
        key: new style, from `jax.random.key`.
        lanes: number of horizons, >= 1; static.
        chunk: lanes at a time; static.
        table: counts around the expectation that each table holds, which must span 8 deviations either way; static.

    Returns:
        [lanes] returns per year; NaN where a traced leaf is out of range or a table is too short.

    Raises:
        ValueError: a concrete argument is out of range, or a table is known to be too short.
    """
    if lanes < 1 or table < 2 or (chunk is not None and chunk < 1):
        raise ValueError(f"lanes and chunk must be at least 1 and table at least 2, got {lanes}, {chunk} and {table}")
    ok, law = in_domains(law), kept_leaves(law)
    dtype = jnp.result_type(*jax.tree.leaves(law), float)
    count_key, seat_key, value_key = jax.random.split(key, 3)
    proposals = _above(law.slots, law.proposal_chance, size=table, dtype=dtype)
    seats = _above(law.seat_trials, law.seat_chance, size=table, dtype=dtype)
    ok = every(ok, proposals[2], seats[2])
    width = min(lanes, chunk or (CPU_CHUNK if jax.default_backend() == "cpu" else lanes))
    chunks = -(-lanes // width)
    counts = _sorted_counts(proposals, key=count_key, lanes=lanes)
    counts = jnp.pad(counts, (0, chunks * width - lanes)).reshape(chunks, width)

    def one(given: Any) -> jax.Array:
        place, count = given
        paid = _payments(law, count, key=jax.random.fold_in(value_key, place), dtype=dtype)
        seat = _counts(seats, key=jax.random.fold_in(seat_key, place), lanes=width)
        return law.fixed_eth * count.astype(dtype) + paid + law.seat_eth * seat.astype(dtype)

    income = jax.lax.map(one, (jnp.arange(chunks), counts)).reshape(-1)[:lanes]
    return poison(ok, (law.steady_eth + income) / law.capital_eth_years)  # type: ignore[return-value]


def estimate_mean(returns: jax.Array) -> Estimate:
    """Mean of [lanes] returns and its standard error."""
    return Estimate(value=jnp.mean(returns), error=jnp.std(returns, ddof=1) / math.sqrt(returns.size))


def estimate_variance(returns: jax.Array) -> Estimate:
    """Variance of [lanes] returns, and its standard error from their fourth moment."""
    gap = (returns - jnp.mean(returns)) ** 2
    unbiased = returns.size / (returns.size - 1.0)
    return Estimate(value=jnp.mean(gap) * unbiased, error=jnp.std(gap, ddof=1) / math.sqrt(returns.size))


def estimate_quantile(returns: jax.Array, *, level: float) -> Estimate:
    """Quantile of [lanes] returns at a static level in (0, 1).

    Its standard error is half the distance of the quantiles at `level -+ sqrt(level (1 - level) / lanes)`.
    """
    _require_level(level)
    gap = math.sqrt(level * (1.0 - level) / returns.size)
    levels = tuple(100.0 * min(max(x, 0.0), 1.0) for x in (level - gap, level, level + gap))
    low, value, high = percentiles(returns, levels=levels)
    return Estimate(value=value, error=0.5 * (high - low))


def estimate_lower_tail_mean(returns: jax.Array, *, share: float) -> Estimate:
    """Mean of the worst `share` of [lanes] returns, share static in (0, 1), by `q - E max(q - R, 0) / share`."""
    _require_level(share)
    at = percentiles(returns, levels=(100.0 * share,))[0]
    short = jnp.maximum(at - returns, 0.0) / share
    return Estimate(value=at - jnp.mean(short), error=jnp.std(short, ddof=1) / math.sqrt(returns.size))


def _require_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level must be in (0, 1), got {level}")


def _above(trials: Scalar, chance: Scalar, *, size: int, dtype: Any) -> tuple[jax.Array, jax.Array, Any]:
    """The first count of a table, [size] chances of more than each count in it, and whether the table is long enough.

    By ratios of successive terms and sums from the top, so that small chances keep their relative precision.
    """
    trials, chance = (jax.lax.stop_gradient(jnp.asarray(x, dtype)) for x in (trials, chance))
    expected = trials * chance
    reach = _DEVIATIONS * jnp.sqrt(expected) + 4.0 * _DEVIATIONS
    first = jnp.floor(jnp.maximum(0.0, expected - reach))
    needed = jnp.minimum(trials, expected + reach) - first
    ok = confirm(needed <= size, "table must be at least {needed}, the counts within 8 deviations", needed=needed)
    count = first + jnp.arange(size - 1).astype(dtype)
    possible = (count < trials) & (chance > 0)
    odds = chance / jnp.where(chance < 1, 1.0 - chance, jnp.finfo(dtype).eps)
    ratio = jnp.where(possible, (trials - count) / (count + 1.0) * odds, 1.0)
    steps = jnp.where(possible, jnp.log(ratio), -jnp.inf)
    levels = jnp.concatenate([jnp.zeros(1, dtype), jnp.cumsum(steps)])
    mass = jnp.exp(levels - jnp.max(levels))
    reached = jnp.cumsum(mass[::-1])[::-1]
    return first.astype(jnp.int32), jnp.append(reached[1:], 0.0) / reached[0], ok


def _sorted_counts(above: Any, *, key: jax.Array, lanes: int) -> jax.Array:
    """[lanes] falling counts, one from each stratum of the chance of more."""
    first, chances, _ = above
    dtype = chances.dtype
    inside = _open_uniform(key, lanes, dtype)
    left = (jnp.arange(lanes).astype(dtype) + inside) / lanes
    reached = jnp.searchsorted(left, chances, side="left")  # lanes that have more than each count
    steps = jnp.zeros(lanes + 1, jnp.int32).at[reached].add(1)
    return first + jnp.cumsum(steps[::-1])[::-1][1:]


def _counts(above: Any, *, key: jax.Array, lanes: int) -> jax.Array:
    """[lanes] independent counts, by going up the table until no lane is left."""
    first, chances, _ = above
    left = _open_uniform(key, lanes, chances.dtype)
    least = jnp.min(left)

    def more(state: Any) -> Any:
        place, _ = state
        return (place < chances.size) & (least < chances[jnp.minimum(place, chances.size - 1)])

    def up(state: Any) -> Any:
        place, count = state
        return place + 1, count + (left < chances[place]).astype(jnp.int32)

    start = jnp.zeros((), jnp.int32), jnp.full(lanes, first, jnp.int32)
    return jax.lax.while_loop(more, up, start)[1]


def _open_uniform(key: jax.Array, lanes: int, dtype: Any) -> jax.Array:
    """Uniform in (0, 1), in the middle of steps of the precision; 0 would be an endless count."""
    return jax.random.uniform(key, (lanes,), dtype) + 0.5 * jnp.finfo(dtype).eps


def _payments(law: IncomeLaw, counts: jax.Array, *, key: jax.Array, dtype: Any) -> jax.Array:
    """[lanes] sums of as many block values as each lane has proposals."""
    lanes = counts.size
    block = max(1, BLOCK // lanes)
    most = jnp.max(counts)
    drawn = (np.arange(block) if block > 1 else np.zeros(1, int))[:, None]

    def add(state: Any) -> Any:
        start, total = state
        step = jax.random.fold_in(key, start)
        values = block_value.sample(law.block_value, key=step, shape=(block, lanes)).astype(dtype)
        due = start + jnp.asarray(drawn, jnp.int32) < counts[None]
        return start + block, total + jnp.sum(jnp.where(due, values, 0.0), axis=0)

    start = jnp.zeros((), jnp.int32), jnp.zeros(lanes, dtype)
    return jax.lax.while_loop(lambda state: state[0] < most, add, start)[1]
