"""Fits against closed forms and SciPy, their standard errors against theory, and honesty where nothing can be known."""

from __future__ import annotations

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from jaxstake.analysis import calibrate
from jaxstake.analysis.bounds import from_free, near_bound, simplex, to_free
from jaxstake.analysis.calibrate import ConvergenceWarning, fit
from jaxstake.core.domain import FINITE, FRACTION, POSITIVE, Domain
from jaxstake.core.pytree import leaf, pytree

KEY = jax.random.key(7)
DOMAINS = [FINITE, POSITIVE, FRACTION, Domain(-3.0), Domain(high=2.0, open_high=True), Domain(-5.0, 5.0)]


@pytree
class Normal:
    mean: float = leaf(default=0.0)
    sd: float = leaf(default=1.0, domain=POSITIVE)


def normal_loss(at, data):
    """Mean negative log likelihood, without its constant."""
    return jnp.mean(jnp.log(at.sd) + 0.5 * ((data - at.mean) / at.sd) ** 2)


def rosenbrock(at):
    return 100.0 * (at["y"] - at["x"] ** 2) ** 2 + (1.0 - at["x"]) ** 2


def two_wells(at):
    """Minima near -1 and 1, the one at -1 lower."""
    return (at["x"] ** 2 - 1.0) ** 2 + 0.3 * at["x"]


def ridge(at):
    return (at["a"] + at["b"] - 1.0) ** 2 + (at["c"] - 2.0) ** 2


def hinge(at):
    """Falls towards the lower bound of x."""
    return at["x"] + (at["y"] - 1.0) ** 2


def small(at):
    """A minimum close to the bound of x, but not on it."""
    return 1e3 * (at["x"] - 1e-3) ** 2 / at["x"] + (at["y"] - 1.0) ** 2


def broken(at):
    return jnp.log(-1.0 - at["x"] ** 2)


@pytest.fixture
def close(x64):
    return {"rel": 1e-6, "abs": 1e-7} if x64 else {"rel": 2e-3, "abs": 2e-3}


# --- Bounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda d: d.rule)
def test_bijections_are_inverse_and_stay_inside(domain, tolerance):
    free = jnp.linspace(-6.0, 6.0, 41)
    values = from_free(free, domain=domain)
    assert bool(jnp.all(domain.contains(values)))
    np.testing.assert_allclose(to_free(values, domain=domain), free, rtol=2e3 * tolerance, atol=2e3 * tolerance)
    slopes = jnp.diff(values)
    assert bool(jnp.all(slopes > 0) | jnp.all(slopes < 0))


def test_bounds_are_noticed_from_near():
    assert bool(near_bound(1e-3, start=0.5, domain=POSITIVE))
    assert bool(near_bound(0.995, start=0.5, domain=FRACTION))
    assert bool(near_bound(1.999, start=0.5, domain=Domain(high=2.0)))
    assert not bool(near_bound(0.4, start=0.5, domain=FRACTION))
    assert not bool(near_bound(1e9, start=0.5, domain=FINITE))


def test_simplex_is_a_distribution(tolerance):
    weights = simplex(jnp.asarray([0.3, -1.0, 2.0]))
    assert weights.shape == (4,)
    assert float(jnp.sum(weights)) == pytest.approx(1.0, rel=tolerance)
    np.testing.assert_allclose(jnp.log(weights[1:] / weights[0]), [0.3, -1.0, 2.0], rtol=10 * tolerance)


# --- Minima ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_normal_is_fitted_with_its_standard_errors(optimizer, rng, close, x64):
    data = rng.normal(3.0, 2.0, 400)
    steps, tolerance = (300, None) if optimizer == "lbfgs" else (3000, 1e-4)
    found = fit(normal_loss, Normal(), jnp.asarray(data, float), key=KEY, optimizer=optimizer, steps=steps,
                tolerance=tolerance, restarts=3, observations=400)  # fmt: skip
    loose = close if optimizer == "lbfgs" or not x64 else {"rel": 1e-3}
    assert bool(found.converged)
    assert float(found.parameters.mean) == pytest.approx(data.mean(), **loose)
    assert float(found.parameters.sd) == pytest.approx(data.std(), **loose)
    assert float(found.standard_errors.mean) == pytest.approx(data.std() / 20.0, rel=5e-3)
    assert float(found.standard_errors.sd) == pytest.approx(data.std() / math.sqrt(800.0), rel=5e-3)
    assert bool(found.identified.mean)
    assert not bool(found.at_bound.sd)
    assert int(found.agreeing) == 3 if optimizer == "lbfgs" else int(found.agreeing) >= 1


def test_rosenbrock(close):
    found = fit(rosenbrock, {"x": -1.2, "y": 1.0}, key=KEY, restarts=4, steps=500)
    assert {name: float(value) for name, value in found.parameters.items()} == pytest.approx(
        {"x": 1.0, "y": 1.0}, **close
    )
    assert found.restarts.trace.shape == (4, 500)
    assert float(found.restarts.trace[0, 0]) == pytest.approx(24.2, rel=1e-5)
    taken = int(found.restarts.steps[0])
    assert bool(jnp.all(jnp.isnan(found.restarts.trace[0, taken:])))
    assert not bool(jnp.any(jnp.isnan(found.restarts.trace[0, :taken])))


def test_scipy_finds_the_same(rng, x64):
    """A Student location-scale fit, which has no closed form."""
    data = scipy.stats.t.rvs(4.0, loc=0.3, scale=1.7, size=300, random_state=rng)

    def loss(at, x):
        z2 = ((x - at["loc"]) / at["scale"]) ** 2
        return jnp.mean(jnp.log(at["scale"]) + 2.5 * jnp.log1p(z2 / 4.0))

    found = fit(loss, {"loc": 0.0, "scale": 1.0}, jnp.asarray(data, float), key=KEY, bounds={"scale": POSITIVE},
                restarts=3, observations=300)  # fmt: skip

    near = {"rel": 1e-5} if x64 else {"rel": 1e-2}

    def objective(at):
        return np.sum(np.log(at[1]) + 2.5 * np.log1p(((data - at[0]) / at[1]) ** 2 / 4.0))

    oracle = scipy.optimize.minimize(
        objective, [0.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11}
    )
    assert float(found.parameters["loc"]) == pytest.approx(oracle.x[0], **near)
    assert float(found.parameters["scale"]) == pytest.approx(oracle.x[1], **near)
    step = 1e-3 * np.eye(2)
    hessian = [[(objective(oracle.x + a + b) - objective(oracle.x + a - b) - objective(oracle.x - a + b)
                 + objective(oracle.x - a - b)) / 4e-6 for b in step] for a in step]  # fmt: skip
    np.testing.assert_allclose(found.covariance, np.linalg.inv(hessian), rtol=2e-2 if x64 else 6e-2, atol=2e-6)


def test_restarts_leave_a_poor_minimum():
    alone = fit(two_wells, {"x": 1.2}, key=KEY, restarts=1)
    assert float(alone.parameters["x"]) > 0
    several = fit(two_wells, {"x": 1.2}, key=KEY, restarts=16, spread=2.0)
    assert float(several.parameters["x"]) < 0
    assert 1 <= int(several.agreeing) < 16
    assert float(several.loss) < float(alone.loss)


def test_vectors_are_parameters_too(close):
    target = jnp.asarray([1.0, 2.0, 3.0])
    found = fit(lambda at, goal: jnp.sum((at["w"] - goal) ** 2), {"w": jnp.ones(3)}, target, key=KEY,
                bounds={"w": POSITIVE}, restarts=2)  # fmt: skip
    np.testing.assert_allclose(found.parameters["w"], target, rtol=close["rel"])
    assert found.standard_errors["w"].shape == (3,)
    np.testing.assert_allclose(found.standard_errors["w"], np.full(3, math.sqrt(0.5)), rtol=1e-3)


# --- What cannot be known -------------------------------------------------------------------------------------------


def test_a_ridge_is_named_not_hidden():
    found = fit(ridge, {"a": 0.0, "b": 0.0, "c": 0.0}, key=KEY, restarts=3)
    assert bool(found.converged)
    assert {name: bool(flag) for name, flag in found.identified.items()} == {"a": False, "b": False, "c": True}
    assert math.isnan(float(found.standard_errors["a"]))
    assert float(found.standard_errors["c"]) == pytest.approx(math.sqrt(0.5), rel=1e-4)
    assert int(jnp.sum(found.curvature.flat)) == 1
    direction = found.curvature.directions[:, 0]
    assert abs(float(direction[0] + direction[1])) < 1e-3


def test_a_bound_is_noticed_and_has_no_error():
    found = fit(hinge, {"x": 1.0, "y": 0.0}, key=KEY, bounds={"x": POSITIVE}, restarts=2)
    assert bool(found.at_bound["x"])
    assert math.isnan(float(found.standard_errors["x"]))
    assert not bool(found.at_bound["y"])
    assert float(found.standard_errors["y"]) == pytest.approx(math.sqrt(0.5), rel=1e-3)


def test_a_minimum_beside_a_bound_is_not_one_on_it():
    found = fit(small, {"x": 1.0, "y": 0.0}, key=KEY, bounds={"x": POSITIVE}, restarts=2)
    assert float(found.parameters["x"]) == pytest.approx(1e-3, rel=1e-2)
    assert not bool(found.at_bound["x"])
    assert math.isfinite(float(found.standard_errors["x"]))


def test_failure_is_said_aloud():
    with pytest.warns(ConvergenceWarning, match="none of 2 restarts converged"):
        found = fit(rosenbrock, {"x": -1.2, "y": 1.0}, key=KEY, steps=3, restarts=2)
    assert not bool(found.converged)
    assert int(found.agreeing) == 0
    with pytest.warns(ConvergenceWarning, match="2 without a finite loss"):
        nothing = fit(broken, {"x": 1.0}, key=KEY, restarts=2)
    assert math.isnan(float(nothing.parameters["x"]))
    assert not bool(nothing.converged)


def test_a_restart_that_fails_does_not_win():
    def loss(at):
        return jnp.where(at["x"] > 2.0, jnp.nan, (at["x"] - 1.0) ** 2)

    found = fit(loss, {"x": 0.0}, key=KEY, restarts=12, spread=3.0)
    assert float(found.parameters["x"]) == pytest.approx(1.0, abs=1e-3)
    assert not bool(jnp.all(found.restarts.converged))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"initial": {"x": 0.0}, "bounds": {"x": POSITIVE}},
            r"x must begin strictly inside its bounds, greater than 0",
        ),
        ({"bounds": {"z": POSITIVE}}, "unknown parameter 'z'"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"restarts": 0}, "restarts must be at least 1, got 0"),
        ({"spread": -1.0}, "spread must be at least 0, got -1"),
        ({"optimizer": "sgd"}, "optimizer must be 'lbfgs', 'adam' or 'newton', got 'sgd'"),
        ({"initial": [1.0, 2.0]}, "initial must be a container"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    given = {"initial": {"x": 1.0}, "key": KEY, **changes}
    with pytest.raises(ValueError, match=message):
        fit(lambda at: at["x"] ** 2, given.pop("initial"), **given)


# --- Compilation and batches ----------------------------------------------------------------------------------------


def test_new_values_and_data_do_not_compile_again(rng):
    traces = 0

    def loss(at, data):
        nonlocal traces
        traces += 1
        return normal_loss(at, data)

    first = fit(loss, Normal(), jnp.asarray(rng.normal(size=50), float), key=KEY, restarts=2)
    counted = traces
    second = fit(
        loss, Normal(mean=1.0), jnp.asarray(rng.normal(2.0, 1.0, 50), float), key=jax.random.key(1), restarts=2
    )
    assert traces == counted > 0
    assert float(first.parameters.mean) != float(second.parameters.mean)


def test_many_sets_of_data_at_once_and_their_intervals_cover(rng, only_x64):
    """400 normal samples of 200 in one call; the 95 % intervals of both parameters cover as they should."""
    data = jnp.asarray(rng.normal(1.0, 0.5, (400, 200)))

    def one(sample):
        return calibrate.solve(normal_loss, Normal(mean=0.0, sd=1.0), sample, key=KEY, domains=(FINITE, POSITIVE),
                               tolerance=1e-7, restarts=1, observations=200.0)  # fmt: skip

    with jax.numpy_dtype_promotion("standard"):
        found = jax.jit(jax.vmap(one))(data)
    assert bool(jnp.all(found.converged))
    np.testing.assert_allclose(found.parameters.mean, data.mean(axis=1), rtol=1e-6)
    for name, truth in (("mean", 1.0), ("sd", 0.5)):
        error = getattr(found.standard_errors, name)
        inside = jnp.abs(getattr(found.parameters, name) - truth) <= 1.959964 * error
        assert 0.92 <= float(jnp.mean(inside)) <= 0.98


def test_nothing_is_printed_or_warned_on_success(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit(rosenbrock, {"x": 0.5, "y": 0.5}, key=KEY, restarts=2)
    assert bool(found.converged)
    assert capsys.readouterr() == ("", "")


def test_bounds_follow_their_names_whatever_the_order_of_a_mapping() -> None:
    def loss(at: Any) -> Any:
        return (at["wide"] - 4.0) ** 2 + (at["share"] - 0.25) ** 2 + (at["above"] - 2.0) ** 2

    start = {"wide": 3.0, "share": 0.5, "above": 1.5}
    bounds = {"wide": Domain(2.0, open_low=True), "share": Domain(0.0, 1.0), "above": Domain(1.0, open_low=True)}
    found = fit(loss, start, key=jax.random.key(0), bounds=bounds, restarts=1)
    assert {name: round(float(value), 2) for name, value in found.parameters.items()} == {
        "wide": 4.0, "share": 0.25, "above": 2.0,
    }  # fmt: skip
