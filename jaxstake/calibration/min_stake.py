"""The dynamic minimum stake that is best for a welfare, trained on some market paths and judged on others.

Welfare adds what cannot be added, and its weights decide where the optimum lies. What is reported is therefore a rule
for given weights, beside 32 ETH and the best static rule on the same paths, and a surface of optima over the weights.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.analysis.calibrate import Fit, fit
from jaxstake.analysis.identification import Curvature, curvature
from jaxstake.calibration import static_rules
from jaxstake.calibration.static_rules import Surface, World
from jaxstake.core.checks import confirm
from jaxstake.core.domain import Domain
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.microstaking import policy as rules
from jaxstake.microstaking import welfare as good
from jaxstake.microstaking.dynamics import simulate
from jaxstake.microstaking.market_paths import MarketPath, PathLaw, market_path
from jaxstake.microstaking.policy import STABLE_EXPONENT, MinimumStakePolicy
from jaxstake.microstaking.welfare import Scale, Terms, WelfareScenario

SLOPES = Domain(-4.0, 4.0, open_low=True, open_high=True)
"""Slopes searched: at the ends two years' extremes of the volatility move the minimum by a factor of 50."""


TOLERANCE = 1e-3
"""Of the gradient, and the difference in welfare within which two restarts agree, in ranges of a term: far below the
error that comes from the number of paths."""

STEP = 0.1
"""Step of the differences that give the curvature: a tenth in `ln(base)`, in the exponent and in the slope."""


@pytree
class Levers:
    """What is fitted of a `MinimumStakePolicy`."""

    base_eth: Scalar = leaf(unit="ETH")
    count_exponent: Scalar = leaf(default=0.0, domain=STABLE_EXPONENT)
    volatility_slope: Scalar = leaf(default=0.0, unit="sqrt(year)", domain=SLOPES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """A rule on paths that it was not trained on.

    Attributes:
        policy: the rule.
        terms: the five terms, means over the paths.
        gain: welfare over that of 32 ETH on the same paths, mean.
        gain_error: standard error of the gain over paths.
    """

    policy: MinimumStakePolicy
    terms: Terms
    gain: float
    gain_error: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class MinimumStakeCalibration:
    """A calibrated rule, and everything that keeps it from being taken for the truth.

    Attributes:
        fit: of `Levers`; what it says of errors and identification is of a point, and the loss has kinks.
        agreeing: restarts that converged to within `TOLERANCE` of the best one's welfare.
        curvature: of the loss in `ln(base)`, exponent and slope, over differences that average the kinks.
        standard_errors: of the levers, from the spread of the training paths; NaN where not identified.
        policy: the fitted rule.
        static_is_corner: whether the best static minimum is the smallest or the largest allowed.
        judged: "32 ETH", "best static" and "dynamic" on held-out paths.
        dynamic_gain: welfare of the dynamic over the best static rule there, mean.
        dynamic_gain_error: standard error of that over paths.
        scale: terms of 32 ETH on the training paths, which have welfare 0, and ranges over static minima.
        surface: optima over the weights.
    """

    fit: Fit
    agreeing: int
    curvature: Curvature
    standard_errors: Levers
    policy: MinimumStakePolicy
    static_is_corner: bool
    judged: dict[str, Judged]
    dynamic_gain: float
    dynamic_gain_error: float
    scale: Scale
    surface: Surface


def calibrate(
    scenario: WelfareScenario,
    *,
    key: jax.Array,
    law: PathLaw | None = None,
    policy: MinimumStakePolicy | None = None,
    periods: int = 260,
    paths: int = 16,
    held_out: int = 64,
    classes: int = 64,
    restarts: int = 3,
    steps: int = 60,
) -> MinimumStakeCalibration:
    """Fit base, exponent of the count and slope in volatility; compare with static rules on new paths.

    The reference count is the geometric mean on the training paths under the best static rule, the reference
    volatility that of the law: free, both would be null directions.

    Args:
        scenario: network and weights.
        key: random key; training and held-out paths are independent.
        law: of the market; default `PathLaw()`.
        policy: limits of the rule; default `MinimumStakePolicy()`.
        periods: length of a path, in periods of `scenario.dynamics.days`.
        paths: training paths, >= 2.
        held_out: paths that judge, >= 2.
        classes: size classes of holders.
        restarts: of the search, the first at the best static rule.
        steps: most steps of a restart.

    Returns:
        `MinimumStakeCalibration`.

    Raises:
        ValueError: a value is out of range, a minimum exceeds all wealth, or there are fewer than two paths.

    Warns:
        ConvergenceWarning: no restart converged.
    """
    law, policy = law or PathLaw(), policy or MinimumStakePolicy()
    good.validate(scenario)
    _check(scenario, policy, paths=paths, held_out=held_out)
    policy = dataclasses.replace(policy, reference_volatility=as_float(law.mean_volatility))
    keys = dict(zip(("train", "judge", "fit"), jax.random.split(key, 3), strict=True))
    days = scenario.dynamics.days
    train = _paths(law, keys["train"], days, paths, periods)
    judge = _paths(law, keys["judge"], days, held_out, periods)

    world = static_rules.build_world(policy, scenario, classes=classes, paths=train)
    grid, terms = static_rules.static_terms(policy, world, train)
    scale = Scale(
        origin=jax.tree.map(jnp.mean, static_rules.terms_by_path(_static(policy, 32.0), world, train)),
        ranges=jax.tree.map(lambda values: jnp.max(values) - jnp.min(values), terms),
    )
    static, corner = static_rules.best_static(scenario, grid, terms, scale)
    count = _mean_log_count(_static(policy, static), world, train)
    policy = dataclasses.replace(policy, reference_count=jnp.exp(count))
    inner = jnp.clip(static, policy.lowest_eth * 1.05, policy.highest_eth / 1.05)
    found = fit(
        _loss,
        Levers(base_eth=inner),
        policy,
        world,
        train,
        scale,
        key=keys["fit"],
        bounds={"base_eth": Domain(float(policy.lowest_eth), float(policy.highest_eth), open_low=True, open_high=True)},
        restarts=restarts,
        steps=steps,
        tolerance=TOLERANCE,
        spread=0.5,
    )
    rules = {
        "32 ETH": _static(policy, 32.0),
        "best static": _static(policy, static),
        "dynamic": _with(policy, found.parameters),
    }
    judged, by_path = _judge(rules, world, judge, scale)
    gain = by_path["dynamic"] - by_path["best static"]
    bend, errors = _uncertainty(found.parameters, policy, world, train, scale)
    return MinimumStakeCalibration(
        fit=found,
        agreeing=int(jnp.sum(found.restarts.converged & (found.restarts.loss <= found.loss + TOLERANCE))),
        curvature=bend,
        standard_errors=errors,
        policy=rules["dynamic"],
        static_is_corner=corner,
        judged=judged,
        dynamic_gain=float(np.mean(gain)),
        dynamic_gain_error=_error(gain),
        scale=scale,
        surface=static_rules.surface(grid, terms, scale),
    )


def _check(scenario: WelfareScenario, policy: MinimumStakePolicy, *, paths: int, held_out: int) -> None:
    for name, value in (("paths", paths), ("held_out", held_out)):
        if value < 2:
            raise ValueError(f"{name} must be at least 2, got {value}")
    rules.validate(policy)
    largest = scenario.dynamics.population.wealth.largest_eth
    confirm(
        policy.highest_eth <= largest,
        "highest_eth must be at most the largest wealth {largest}, got {highest}",
        largest=largest,
        highest=policy.highest_eth,
    )


def _static(policy: MinimumStakePolicy, stake_eth: Scalar) -> MinimumStakePolicy:
    return dataclasses.replace(policy, base_eth=as_float(stake_eth))


def _with(policy: MinimumStakePolicy, levers: Levers) -> MinimumStakePolicy:
    return dataclasses.replace(
        policy,
        base_eth=levers.base_eth,
        count_exponent=levers.count_exponent,
        volatility_slope=levers.volatility_slope,
    )


def _loss(
    levers: Levers,
    policy: MinimumStakePolicy,
    world: World,
    paths: MarketPath,
    scale: Scale,
) -> Any:
    return good.negative_welfare(
        _with(policy, levers), world.scenario, classes=world.classes, paths=paths, scale=scale, surface=world.faults
    )


@functools.partial(jax.jit, static_argnums=(3, 4))
def _paths(law: PathLaw, key: jax.Array, days: Scalar, number: int, periods: int) -> MarketPath:
    return jax.vmap(lambda k: market_path(law, key=k, periods=periods, days=days))(jax.random.split(key, number))


@jax.jit
def _mean_log_count(policy: MinimumStakePolicy, world: World, paths: MarketPath) -> jax.Array:
    def one(path: MarketPath) -> jax.Array:
        _, periods = simulate(policy, world.scenario.dynamics, classes=world.classes, path=path)
        return jnp.mean(jnp.log(periods.validators))

    return jnp.mean(jax.vmap(one)(paths))


def _judge(
    rules: dict[str, MinimumStakePolicy],
    world: World,
    paths: MarketPath,
    scale: Scale,
) -> tuple[dict[str, Judged], dict[str, np.ndarray]]:
    """Every rule on the same paths, and its welfare path by path."""
    judged, by_path = {}, {}
    weigh = jax.vmap(lambda t: good.welfare(t, weights=world.scenario.weights, scale=scale))
    for name, rule in rules.items():
        terms = static_rules.terms_by_path(rule, world, paths)
        by_path[name] = np.asarray(weigh(terms))
        gain = by_path[name] - by_path["32 ETH"]
        judged[name] = Judged(
            policy=rule,
            terms=jax.tree.map(lambda value: float(jnp.mean(value)), terms),
            gain=float(np.mean(gain)),
            gain_error=_error(gain),
        )
    return judged, by_path


def _error(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(values.size))


@jax.jit
def _path_gradients(
    levers: Levers,
    policy: MinimumStakePolicy,
    world: World,
    paths: MarketPath,
    scale: Scale,
) -> jax.Array:
    """[S, 3] gradient of every path's loss in `ln(base)`, the exponent and the slope."""

    def slope(path: MarketPath) -> jax.Array:
        alone = jax.tree.map(lambda value: value[None], path)
        found = jax.grad(_loss)(levers, policy, world, alone, scale)
        return jnp.stack([found.base_eth * levers.base_eth, found.count_exponent, found.volatility_slope])

    return jax.vmap(slope)(paths)


def _uncertainty(
    levers: Levers,
    policy: MinimumStakePolicy,
    world: World,
    paths: MarketPath,
    scale: Scale,
) -> tuple[Curvature, Levers]:
    """Curvature of the loss in `ln(base)`, exponent and slope, and errors from the finite number of training paths.

    Equation: `H^-1 Cov(g) H^-1 / S` over the directions that are not flat. H is the difference of gradients over
    `STEP`, because the loss is a mean of many kinks (entries and exits do not go below 0, nor above the churn limit):
    its second derivative at a point misses what they add up to.
    """
    at = np.array([float(jnp.log(levers.base_eth)), float(levers.count_exponent), float(levers.volatility_slope)])

    def gradients(point: np.ndarray) -> np.ndarray:
        base, exponent, slope = (jnp.asarray(value) for value in point)
        moved = Levers(base_eth=jnp.exp(base), count_exponent=exponent, volatility_slope=slope)
        return np.asarray(_path_gradients(moved, policy, world, paths, scale))

    hessian = np.stack(
        [
            (gradients(at + step).mean(axis=0) - gradients(at - step).mean(axis=0)) / (2.0 * STEP)
            for step in STEP * np.eye(3)
        ]
    )
    bend = curvature(jnp.asarray(0.5 * (hessian + hessian.T)), scale=jnp.ones(3), observations=1.0)
    slopes, inverse = gradients(at), np.asarray(bend.covariance)
    spread = inverse @ np.cov(slopes, rowvar=False) @ inverse / slopes.shape[0]
    errors = np.where(np.asarray(bend.identified), np.sqrt(np.diagonal(spread)), np.nan)
    return bend, Levers(
        base_eth=float(levers.base_eth) * errors[0], count_exponent=errors[1], volatility_slope=errors[2]
    )
