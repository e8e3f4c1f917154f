"""The calibrated minimum stake: rules on new paths, static optima, what is identified, bad input."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.analysis.calibrate import ConvergenceWarning
from jaxstake.calibration import min_stake, static_rules
from jaxstake.calibration.min_stake import Levers
from jaxstake.core import leaves
from jaxstake.microstaking import welfare
from jaxstake.microstaking.market_paths import PathLaw
from jaxstake.microstaking.policy import MinimumStakePolicy
from jaxstake.microstaking.welfare import Scale, WelfareScenario

pytestmark = pytest.mark.usefixtures("only_x64")
WORLD = WelfareScenario()
SMALL = {"periods": 104, "paths": 6, "held_out": 6, "classes": 24, "restarts": 2}


@pytest.fixture(scope="module")
def found():
    """So few paths leave kinks that may stop the search: it then says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return min_stake.calibrate(WORLD, key=jax.random.key(0), **SMALL)


def test_it_says_whether_it_converged(found):
    assert bool(found.fit.converged) == (float(found.fit.gradient_norm) <= min_stake.TOLERANCE)
    assert found.agreeing <= int(np.sum(found.fit.restarts.converged)) <= 2
    assert np.all(np.isfinite(jax.tree.leaves(found.fit.parameters)))
    assert 1.0 < float(found.policy.base_eth) < 64.0
    assert abs(float(found.policy.count_exponent)) < 1.0


def test_training_never_prefers_the_static_rule(found):
    """The dynamic rule contains the static one, from which the first restart begins."""
    static = found.fit.restarts.trace[0, 0]
    assert float(found.fit.loss) <= float(static) + 1e-9
    at_32 = 0.0  # the origin of welfare is 32 ETH on the training paths
    assert float(found.fit.loss) < at_32


def test_rules_are_judged_on_the_same_paths(found):
    assert list(found.judged) == ["32 ETH", "best static", "dynamic"]
    base = found.judged["32 ETH"]
    assert base.gain == base.gain_error == 0.0
    for rule in found.judged.values():
        rows = (jax.tree.leaves(x) for x in (rule.terms, base.terms, found.scale.ranges))
        by_hand = sum((term - start) / unit for term, start, unit in zip(*rows, strict=True))
        assert rule.gain == pytest.approx(float(by_hand), abs=1e-9)
    difference = found.judged["dynamic"].gain - found.judged["best static"].gain
    assert found.dynamic_gain == pytest.approx(difference, abs=1e-9)
    assert found.dynamic_gain_error > 0


def test_ranges_are_those_of_the_static_rules(found):
    for values, unit in zip(jax.tree.leaves(found.surface.terms), jax.tree.leaves(found.scale.ranges), strict=True):
        assert float(unit) == pytest.approx(np.ptp(values), rel=1e-12)
    grid = found.surface.minimum_eth
    np.testing.assert_allclose(grid, np.geomspace(1.0, 64.0, static_rules.GRID), rtol=1e-12)
    assert np.all(np.diff(found.surface.terms.load) > 0)
    assert np.all(np.diff(found.surface.terms.liquidity) > 0)
    assert np.all(np.diff(found.surface.terms.decentralisation) < 0)


def test_surface_by_hand(found):
    surface = found.surface
    np.testing.assert_allclose(surface.weights.sum(axis=1), 1.0)
    assert len(surface.weights) == 210  # 10 over 4
    alone = {name: int(np.flatnonzero(surface.weights[:, k] == 1.0)[0]) for k, name in enumerate(
        ("security", "decentralisation", "liquidity", "load", "wait"))}  # fmt: skip
    assert surface.best_eth[alone["load"]] == 64.0
    assert surface.best_eth[alone["decentralisation"]] == 1.0
    assert surface.corner[alone["load"]]
    assert surface.corner[alone["decentralisation"]]
    security = surface.minimum_eth[np.argmax(surface.terms.security)]
    assert surface.best_eth[alone["security"]] == security


def test_the_best_static_rule_is_the_best(found):
    """No minimum of the grid does better on the training paths than the one that was chosen, to a parabola's error."""
    scaled = np.stack(
        [
            (np.asarray(v) - float(o)) / float(r)
            for v, o, r in zip(
                *(jax.tree.leaves(x) for x in (found.surface.terms, found.scale.origin, found.scale.ranges)),
                strict=True,
            )
        ]
    ).sum(axis=0)
    best = found.surface.minimum_eth[np.argmax(scaled)]
    chosen = float(found.judged["best static"].policy.base_eth)
    assert abs(np.log(chosen / best)) <= 0.51 * np.log(64.0) / (static_rules.GRID - 1)
    assert found.static_is_corner == (np.argmax(scaled) in (0, static_rules.GRID - 1))


def test_what_is_not_identified_has_no_error(found):
    for known, error in zip(found.curvature.identified, jax.tree.leaves(found.standard_errors), strict=True):
        assert np.isfinite(error) == bool(known)


# --- What makes the rule depend on volatility -------------------------------------------------------------------------


def slopes(changes, slope):
    """Gradient of the loss in the slope, path by path, at the best static rule."""
    scenario = leaves.replace(
        WORLD,
        {
            "weights.wait": 0.0,
            "security.impact": 0.0,
            "dynamics.layer.release_rate": 0.0,
            "dynamics.behaviour.exit_hazard": 0.5,
            "dynamics.behaviour.volatility_response": 2.0,
            "dynamics.behaviour.size_response": 0.6,
            **changes,
        },
    )
    policy = MinimumStakePolicy()
    paths = min_stake._paths(PathLaw(), jax.random.key(3), 7.0, 32, 156)
    world = static_rules.build_world(policy, scenario, classes=32, paths=paths)
    grid, terms = static_rules.static_terms(policy, world, paths)
    scale = Scale(
        origin=jax.tree.map(lambda v: v[20], terms), ranges=jax.tree.map(lambda v: jnp.max(v) - jnp.min(v), terms)
    )
    best, _ = static_rules.best_static(scenario, grid, terms, scale)
    levers = Levers(base_eth=best, count_exponent=jnp.asarray(0.0), volatility_slope=jnp.asarray(slope))
    return np.asarray(min_stake._path_gradients(levers, policy, world, paths, scale))[:, 2]


def distance_from_zero(values):
    return values.mean() / (values.std(ddof=1) / np.sqrt(values.size))


@pytest.mark.parametrize("response", ["volatility_response", "size_response"])
def test_without_flighty_small_stakes_the_best_slope_is_zero(response):
    """Exits that do not know the volatility, or take all sizes alike: at 0 the loss is level, beside it it rises.

    The wait is left out: through it the queue ties all sizes together, so that exits of any kind matter.
    """
    changes = {f"dynamics.behaviour.{response}": 0.0}
    assert abs(distance_from_zero(slopes(changes, 0.0))) < 3.0
    assert distance_from_zero(slopes(changes, 1.0)) > 3.0
    assert distance_from_zero(slopes(changes, -1.0)) < -3.0


def test_with_them_it_is_not():
    assert abs(distance_from_zero(slopes({}, 0.0))) > 4.0


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"paths": 1}, "paths must be at least 2, got 1"),
        ({}, {"policy": MinimumStakePolicy(highest_eth=1e8)}, r"highest_eth must be at most the largest wealth"),
        ({"weights.load": -1.0}, {}, r"weights\.load must be at least 0"),
        (
            {f"weights.{name}": 0.0 for name in ("security", "decentralisation", "liquidity", "load", "wait")},
            {},
            "weights must have a positive sum, got 0.0",
        ),
    ],
)
def test_bad_input(changes, options, message):
    with pytest.raises(ValueError, match=message):
        min_stake.calibrate(leaves.replace(WORLD, changes), key=jax.random.key(0), **{**SMALL, **options})


def test_one_term_alone_ends_at_a_limit():
    """Load alone wants the largest minimum: the corner is said, and nothing called converged is NaN."""
    weights = {f"weights.{name}": 0.0 for name in ("security", "decentralisation", "liquidity", "wait")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = min_stake.calibrate(leaves.replace(WORLD, weights), key=jax.random.key(0), **SMALL)
    assert found.static_is_corner
    assert float(found.judged["best static"].policy.base_eth) == 64.0
    assert np.isfinite(welfare.Terms(**vars(found.judged["dynamic"].terms)).load)
    if bool(found.fit.converged):
        assert np.all(np.isfinite(jax.tree.leaves(found.fit.parameters)))
