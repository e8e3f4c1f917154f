"""Workload: ten years of a staking network, week by week: welfare of a run and its gradient in the policy's levers.

Three rows of work. Without security, because NumPy then does the same: 256 size classes, and 100,000 stakers one by
one; NumPy's gradient is by forward differences, four runs. With security, as a calibration sees it. A lane is a
scenario, that is a path of the market. On a CPU, stakers one by one run in two threads, half the scenarios each: XLA
runs a loop's body in one.
"""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

from benchmarks.setting import Setting
from benchmarks.timing import Task
from jaxstake.microstaking import dynamics, market_paths, wealth, welfare
from jaxstake.microstaking.network import DynamicsScenario
from jaxstake.microstaking.policy import MinimumStakePolicy
from jaxstake.microstaking.welfare import Scale, Terms, WelfareScenario

LEVERS = (16.0, 0.1, 0.1)
PERIODS, SCENARIOS, CLASSES, STAKERS = 520, 100, 256, 100_000
FULL_RUN = 1 << 22
ONE = dict.fromkeys(("security", "decentralisation", "liquidity", "load", "wait"), 1.0)
NOTHING = dict.fromkeys(ONE, 0.0)


def tasks(setting: Setting) -> list[Task]:
    """A small run has a tenth of everything but the classes."""
    full = setting.lanes >= FULL_RUN
    periods, scenarios, stakers = (PERIODS, SCENARIOS, STAKERS) if full else (52, 10, 10_000)
    if full and jax.default_backend() != "cpu":
        scenarios = 10 * SCENARIOS
    return [
        *_tasks(f"{CLASSES} classes", _classes(), scenarios, periods, baseline=scenarios),
        *_tasks(f"{stakers:,} stakers", _sampled(stakers), scenarios, periods, baseline=1),
        _with_security(scenarios, periods),
    ]


# --- As functions of this package -----------------------------------------------------------------------------------


def policy(levers: Any) -> MinimumStakePolicy:
    """The rule at the levers."""
    return MinimumStakePolicy(base_eth=levers[0], count_exponent=levers[1], volatility_slope=levers[2])


def loss(levers: Any, path: Any, classes: Any) -> Any:
    """Less the terms of one run that NumPy computes too, each with weight 1."""
    _, run = dynamics.simulate(policy(levers), DynamicsScenario(), classes=classes, path=path)
    bits, load = jnp.mean(run.entropy_nats) / jnp.log(2.0), jnp.mean(run.validators) / 1e6
    return load + jnp.mean(run.wait_days) - bits - jnp.mean(jnp.log(run.liquidity_eth))


def paths(scenarios: int, periods: int) -> Any:
    """Markets, leaves [scenarios, periods], in single precision."""
    draw = jax.vmap(lambda key: market_paths.market_path(market_paths.PathLaw(), key=key, periods=periods))
    return jax.jit(draw)(jax.random.split(jax.random.key(0), scenarios))


def value_and_gradient(vectorised: bool) -> Callable[..., Any]:
    """Mean loss over paths and its gradient, all paths at once or one after the other."""
    one = jax.value_and_grad(loss)

    def whole(levers: Any, many: Any, classes: Any) -> Any:
        if vectorised:
            found = jax.vmap(one, (None, 0, None))(levers, many, classes)
        else:
            found = jax.lax.map(lambda path: one(levers, path, classes), many)
        return jax.tree.map(jnp.mean, found)

    return jax.jit(whole)


def _classes() -> Any:
    return jax.jit(functools.partial(wealth.size_classes, classes=CLASSES))(wealth.Wealth())


def _sampled(stakers: int) -> Any:
    return jax.jit(functools.partial(wealth.sample, holders=stakers))(wealth.Wealth(), key=jax.random.key(1))


def _tasks(label: str, sizes: Any, scenarios: int, periods: int, *, baseline: int) -> list[Task]:
    work = f"dynamics, {periods} weeks, {label}, gradient"
    one_by_one = sizes.log_width is None and jax.default_backend() == "cpu"
    function, many = value_and_gradient(vectorised=not one_by_one), paths(scenarios, periods)
    parts = [many]
    if one_by_one:
        parts = [jax.tree.map(lambda x, half=half: x[half::2], many) for half in (0, 1)]

    def ours(_: int) -> Any:
        call = lambda part: jax.block_until_ready(function(LEVERS, part, sizes))  # noqa: E731
        with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
            found = list(pool.map(call, parts))
        return jax.tree.map(lambda *x: sum(x) / len(x), *found)

    few, start = jax.tree.map(lambda x: np.asarray(x[:baseline], np.float32), many), numpy_start(sizes)
    return [
        Task(work, "jaxstake, float32", scenarios, 0, ours),
        Task(work, "NumPy, float32, differences", baseline, 0, lambda _: numpy_value_and_gradient(LEVERS, few, start)),
    ]


def _with_security(scenarios: int, periods: int) -> Task:
    world, scale = WelfareScenario(), Scale(origin=Terms(**NOTHING), ranges=Terms(**ONE))

    def whole(levers: Any, many: Any, sizes: Any) -> Any:
        return welfare.negative_welfare(policy(levers), world, classes=sizes, paths=many, scale=scale)

    function, many, sizes = jax.jit(jax.value_and_grad(whole)), paths(scenarios, periods), _classes()
    work = f"dynamics, {periods} weeks, {CLASSES} classes, gradient, with security"
    run = lambda _: jax.block_until_ready(function(LEVERS, many, sizes))  # noqa: E731
    return Task(work, "jaxstake, float32", scenarios, 0, run)


# --- The same in NumPy ----------------------------------------------------------------------------------------------


def numpy_value_and_gradient(levers: Any, many: Any, start: Any, step: float = 1e-2) -> tuple[float, list[float]]:
    """Mean loss, and forward differences in each lever."""
    value = numpy_loss(levers, many, start)
    moved = [[x + step * (i == j) for j, x in enumerate(levers)] for i in range(len(levers))]
    return value, [(numpy_loss(point, many, start) - value) / step for point in moved]


def numpy_start(sizes: Any) -> Any:
    """The network at rest, and its constants, which are not timed."""
    state, fixed = jax.jit(lambda x: (dynamics.initial_state(DynamicsScenario(), x), dynamics.fixed_parts(
        DynamicsScenario(), x)))(sizes)  # fmt: skip
    return jax.tree.map(np.asarray, (state, fixed))


def numpy_loss(levers: Any, many: Any, start: Any) -> float:
    """The run over all paths at once, [S, C] a period."""
    (state, fixed), scenario, rule = start, DynamicsScenario(), policy(levers)
    volatility, crowd = many.volatility, many.holders
    number, periods = volatility.shape
    solo, pooled = (np.broadcast_to(x, (number, x.size)).copy() for x in (state.solo, state.pooled))
    active, count = (np.full(number, x, np.float32) for x in (state.active_eth, state.validators))
    entering, leaving = np.zeros(number, np.float32), np.zeros(number, np.float32)
    reserve = np.full(number, scenario.layer.capacity, np.float32)
    total = np.zeros(number)
    for t in range(periods):
        sigma, people = volatility[:, t], scenario.population.preferences
        v = _minimum(rule, count, sigma)
        offered = fixed.curve.consensus / np.sqrt(active) + fixed.curve.execution / active
        median, spread = people.median_required_yield, people.log_std_required_yield
        alone = crowd[:, t] * ndtr(np.log(offered / median) / spread)
        through = crowd[:, t] * ndtr(np.log(offered * (1 - people.fee) / median) / spread)
        solo, pooled, asked_in, asked_out = _move(
            scenario, fixed, solo, pooled, v, alone[:, None], through[:, None], sigma - rule.reference_volatility
        )
        limit = np.clip(active / 65_536, 128, 256) * 225 * scenario.days
        waiting_in, waiting_out = entering + asked_in, leaving + asked_out
        admitted, released = np.minimum(waiting_in, limit), np.minimum(waiting_out, limit)
        sums, pool = solo @ fixed.sums.T, pooled @ fixed.ether
        liquidity, reserve = _liquidity(scenario, sums[:, 0], pool, sigma, waiting_out, reserve)
        count = active / v
        wait = waiting_out / limit * scenario.days
        total += count / 1e6 + wait - _bits(fixed, sums, pool) - np.log(liquidity)
        active = active + admitted - released
        entering, leaving = waiting_in - admitted, waiting_out - released
    return float(np.mean(total / periods))


def _minimum(rule: Any, count: Any, sigma: Any) -> Any:
    raw = np.log(rule.base_eth) + rule.count_exponent * np.log(count / rule.reference_count)
    raw = raw + rule.volatility_slope * (sigma - rule.reference_volatility)
    low, high, tau = np.log(rule.lowest_eth), np.log(rule.highest_eth), 0.05
    return np.exp(low + tau * (np.logaddexp(0, (raw - low) / tau) - np.logaddexp(0, (raw - high) / tau)))


def _move(
    scenario: Any, fixed: Any, solo: Any, pooled: Any, v: Any, alone: Any, through: Any, excess: Any
) -> tuple[Any, ...]:
    behaviour, years = scenario.behaviour, scenario.days / 365.25
    move = -np.expm1(-behaviour.adjustment * years)
    pace = np.exp(behaviour.volatility_response * excess) * np.float32(behaviour.exit_hazard * years)
    leave = np.minimum(pace[:, None] * fixed.hazard, 1)
    place = (fixed.log_size - np.log(v)[:, None]) / np.float32(behaviour.gate_temperature)
    if fixed.log_width is None:
        gate = 1 / (1 + np.exp(-place))
    else:
        half = fixed.log_width / np.float32(2 * behaviour.gate_temperature)
        gate = (np.logaddexp(0, place + half) - np.logaddexp(0, place - half)) / (2 * half)
    inclined = alone * fixed.inclined
    gap = move * (through * np.maximum(1 - solo / alone, 0) - pooled)
    join, join_pool = move * np.maximum(inclined * gate - solo, 0), np.maximum(gap, 0)
    stop = leave * solo + move * np.maximum(solo - inclined, 0)
    stop_pool = leave * pooled - np.minimum(gap, 0)
    asked = (join + join_pool) @ fixed.ether, (stop + stop_pool) @ fixed.ether
    return solo + join - stop, pooled + join_pool - stop_pool, *asked


def _liquidity(scenario: Any, solo: Any, pool: Any, sigma: Any, asked: Any, reserve: Any) -> tuple[Any, Any]:
    layer, days = scenario.layer, scenario.days
    base = scenario.turnover * (pool + scenario.solo_turnover * solo) / sigma
    stress = layer.pressure_weight * asked / (base * days)
    stress = stress + layer.volatility_weight * (sigma / layer.normal_volatility - 1) - layer.threshold
    released = -reserve * np.expm1(-layer.release_rate * days / (1 + np.exp(-stress / 0.02)))
    left = reserve - released
    return base + released / days, left - (layer.capacity - left) * np.expm1(-layer.refill_rate * days)


def _bits(fixed: Any, sums: Any, pool: Any) -> Any:
    ether, logs = sums[:, 0], sums[:, 2]
    total = ether + pool
    share, log_total = pool / total, np.log(total)
    return (share * (fixed.pool_entropy - np.log(share)) - logs / total + ether / total * log_total) / np.log(2.0)
