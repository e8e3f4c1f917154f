from __future__ import annotations

import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from jax.test_util import check_grads
from scipy import optimize

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import POSITIVE
from jaxstake.core.solve import solve_bracketed

# Functions and brackets on which root finders are usually tried, with most evaluations allowed in double precision:
# bisection alone takes 52 to 60 from a bracket of ordinary size.
SMOOTH = {
    "linear": (lambda x: 3 * x - 1, -2.0, 5.0, 4),
    "cosine": (lambda x: jnp.cos(x) - x, 0.0, 1.0, 9),
    "exponential": (lambda x: jnp.exp(x) - 1e-3, -50.0, 50.0, 20),
    "logarithm from a pole": (lambda x: jnp.log(x) + 5, 0.0, 10.0, 22),
    "power of 20": (lambda x: x**20 - 1e-6, 0.0, 5.0, 20),
    "steep": (lambda x: jnp.tanh(1e4 * (x - 0.123)), 0.0, 1.0, 25),
    "far away": (lambda x: 1 / x - 1e6, 1e-12, 1.0, 35),
    "wide bracket": (lambda x: x + jnp.sin(x) - 1e-5, -1e15, 1e15, 70),
    "kepler": (lambda x: x - 0.99 * jnp.sin(x) - 0.1, 0.0, math.pi, 12),
}
HARD = {
    "ninth power": (lambda x: (x - 1) ** 9, 0.0, 3.0, 1.0, 0.02, 60),
    "cube at zero": (lambda x: x**3, -1.0, 2.0, 0.0, 1e-12, 105),
    "nineteenth power at zero": (lambda x: x**19, -1.0, 4.0, 0.0, 0.01, 105),
    "square root on both sides": (lambda x: jnp.sign(x - 2) * jnp.sqrt(jnp.abs(x - 2)), 0.0, 10.0, 2.0, 1e-6, 60),
    "flat": (lambda x: jnp.sign(x - 0.3) * jnp.exp(-1 / jnp.abs(x - 0.3)), 0.0, 1.0, 0.3, 0.012, 60),
    "jump": (lambda x: jnp.where(x < 0.7, -1.0, 1.0), 0.0, 1.0, 0.7, 1e-6, 60),
    "tiny root": (lambda x: x - 1e-20, 0.0, 1.0, 0.0, 2e-13, 10),
}


def kepler(eccentricity, anomaly):
    """Root of `x - e sin x = m`, of which dx/de = sin x / (1 - e cos x) and dx/dm = 1 / (1 - e cos x)."""
    return solve_bracketed(lambda x: x - eccentricity * jnp.sin(x) - anomaly, low=0.0, high=math.pi)


# --- Values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMOOTH)
def test_against_brentq(name, x64):
    function, low, high, steps = SMOOTH[name]
    found = jax.jit(lambda: solve_bracketed(function, low=low, high=high))()
    with np.errstate(all="ignore"):
        expected = optimize.brentq(
            lambda x: float(function(np.float64(x))), low or 1e-300, high, xtol=1e-300, rtol=1e-14
        )
    # Bracket of four roundings of the root; in single precision the function itself is known to as much only.
    conditioning = {"wide bracket": 1.0, "kepler": 20.0, "logarithm from a pole": 5.0}.get(name, 2.0)
    assert float(found.value) == pytest.approx(expected, rel=1e-14 if x64 else conditioning * 5e-7)
    assert bool(found.converged)
    assert int(found.steps) <= steps


@pytest.mark.parametrize("name", HARD)
def test_hard_functions_stay_bounded(name, x64):
    """Multiple roots are blurred by the width on which the function underflows or vanishes, never by the search."""
    function, low, high, expected, blur, steps = HARD[name]
    found = jax.jit(lambda: solve_bracketed(function, low=low, high=high))()
    blur = blur if x64 else max(blur, 2e-3)
    assert float(found.value) == pytest.approx(expected, abs=blur)
    assert bool(found.converged)
    assert int(found.steps) <= steps
    assert low <= float(found.value) <= high


@pytest.mark.parametrize(("low", "high"), [(0.0, 5.0), (5.0, 0.0), (3.0, 8.0), (8.0, 3.0), (3.0, 3.0)])
def test_order_of_the_bracket_and_roots_at_its_ends(low, high):
    if low == 0.0 or high == 0.0:
        root = solve_bracketed(lambda x: x - 3.0, low=low, high=high)
        assert float(root.value) == pytest.approx(3.0, rel=1e-6)
    else:
        root = solve_bracketed(lambda x: x - 3.0, low=low, high=high)
        assert (float(root.value), float(root.residual), int(root.steps)) == (3.0, 0.0, 0)
    assert bool(root.converged)


@settings(max_examples=60, deadline=None)
@given(
    root=st.floats(-50.0, 50.0),
    left=st.floats(1e-3, 1e3),
    right=st.floats(1e-3, 1e3),
    power=st.floats(0.3, 3.0),
    scale=st.floats(1e-6, 1e6),
)
def test_any_monotone_function(root, left, right, power, scale, x64):
    """`c sign(x - r) |x - r|^p`: inside the bracket, to rounding, within the default number of steps.

    Bisection takes about 52 to rounding, and 100 to the distance from zero at which the search stops.
    """
    found = MONOTONE(root, root - left, root + right, power, scale)
    eps = 2.0**-52 if x64 else 2.0**-23
    assert bool(found.converged)
    # In single precision a small power underflows around the root: 1e-38^(1/3) = 2e-13, over scale 1e-6 2e-11.
    assert float(found.value) == pytest.approx(root, rel=10 * eps, abs=1e-26 if x64 else 1e-10)
    slack = 2 * eps * (abs(root) + left + right)  # of the bracket's own ends
    assert root - left - slack <= float(found.value) <= root + right + slack


MONOTONE = jax.jit(
    lambda root, low, high, power, scale: solve_bracketed(
        lambda x: scale * jnp.sign(x - root) * jnp.abs(x - root) ** power, low=low, high=high
    )
)


def test_steps_are_few_on_a_smooth_economic_function():
    """A fixed point as the package meets it: the stake at which the reward rate falls to what stakers ask for."""

    def surplus(stake, wanted):
        return 2.6 / jnp.sqrt(stake) + 0.05 / stake - wanted

    wanted = jnp.linspace(0.01, 1.0, 50)
    found = jax.jit(jax.vmap(lambda w: solve_bracketed(lambda s: surplus(s, w), low=1e-3, high=1e6)))(wanted)
    assert bool(found.converged.all())
    assert int(found.steps.max()) <= 40
    np.testing.assert_allclose(surplus(found.value, wanted), 0.0, atol=1e-6)


# --- Failure --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "low", "high"),
    [
        (lambda x: x * x + 1, -1.0, 1.0),  # no root
        (lambda x: x - 5, 0.0, 1.0),  # elsewhere
        (lambda x: x * jnp.nan, 0.0, 1.0),
        (lambda x: jnp.where((x > 0.4) & (x < 0.6), jnp.nan, x - 0.5), 0.0, 1.0),  # NaN around it
        (lambda x: x, jnp.nan, 1.0),
    ],
)
def test_failure_is_nan_and_not_converged(function, low, high):
    found = jax.jit(lambda: solve_bracketed(function, low=low, high=high))()
    assert np.isnan(found.value)
    assert np.isnan(found.residual)
    assert not bool(found.converged)
    assert int(found.steps) < 60


def test_too_few_steps_are_a_failure():
    found = solve_bracketed(lambda x: jnp.cos(x) - x, low=0.0, high=1.0, max_steps=3)
    assert int(found.steps) == 3
    assert not bool(found.converged)
    assert np.isnan(found.value)
    loose = solve_bracketed(lambda x: jnp.cos(x) - x, low=0.0, high=1.0, max_steps=4, tolerance=0.1)
    assert bool(loose.converged)
    assert float(loose.value) == pytest.approx(0.739, abs=0.1)


def test_failed_lanes_are_nan_in_value_and_gradient_and_leave_the_others_alone():
    def square_root(a):
        return solve_bracketed(lambda x: x * x - a, low=0.0, high=10.0).value

    lanes = jnp.asarray([4.0, -1.0, 400.0, jnp.nan, 9.0])
    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(square_root)))(lanes)
    np.testing.assert_allclose(value, [2.0, np.nan, np.nan, np.nan, 3.0], rtol=1e-6)
    np.testing.assert_allclose(gradient, [0.25, np.nan, np.nan, np.nan, 1 / 6], rtol=1e-6)
    _, along = jax.jit(jax.vmap(lambda a: jax.jvp(square_root, (a,), (1.0,))))(lanes)
    assert np.array_equal(np.isnan(along), [False, True, True, True, False])


def test_a_poisoned_parameter_poisons_the_root():
    def inverse(a):
        a = require_domain("a", a, POSITIVE)
        return solve_bracketed(lambda x: a * x - 1.0, low=-100.0, high=100.0).value

    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(inverse)))(jnp.asarray([4.0, -4.0]))
    np.testing.assert_allclose(value, [0.25, np.nan], rtol=1e-6)
    np.testing.assert_allclose(gradient, [-1 / 16, np.nan], rtol=1e-5)


def test_a_pole_is_told_by_its_residual():
    found = solve_bracketed(lambda x: 1 / (x - 0.3), low=0.0, high=1.0)
    assert float(found.value) == pytest.approx(0.3, abs=1e-6)
    assert abs(float(found.residual)) > 1e5


def test_the_bracket_must_be_scalar():
    with pytest.raises(ValueError, match=r"low and high must be scalars, got shapes \(2,\) and \(\); vmap instead"):
        solve_bracketed(lambda x: x, low=jnp.zeros(2), high=1.0)


# --- Derivatives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("e", "m"), [(0.0, 1.0), (0.3, 0.5), (0.9, 2.5), (0.99, 0.1)])
def test_gradients_are_the_implicit_ones(e, m, x64):
    x = optimize.brentq(lambda x: x - e * math.sin(x) - m, 0.0, math.pi, xtol=1e-15)
    slope = 1 - e * math.cos(x)
    rtol = 1e-12 if x64 else 1e-4
    value, (by_e, by_m) = KEPLER(e, m)
    np.testing.assert_allclose([value, by_e, by_m], [x, math.sin(x) / slope, 1 / slope], rtol=rtol)


KEPLER = jax.jit(jax.value_and_grad(lambda e, m: kepler(e, m).value, argnums=(0, 1)))


def test_second_and_third_derivatives(tolerance):
    """Of the cube root of a: 1/3 a^(-2/3), -2/9 a^(-5/3), 10/27 a^(-8/3)."""

    def cube_root(a):
        return solve_bracketed(lambda x: x**3 - a, low=0.0, high=10.0).value

    first, a = jax.grad(cube_root), 8.0
    second = jax.grad(first)
    expected = [2.0, 1 / 12, -2 / 9 / 32, 10 / 27 / 256]
    found = jax.jit(lambda a: [cube_root(a), first(a), second(a), jax.grad(second)(a)])(a)
    np.testing.assert_allclose([float(x) for x in found], expected, rtol=50 * tolerance)
    assert float(jax.jit(jax.hessian(cube_root))(a)) == pytest.approx(expected[2], rel=50 * tolerance)


def test_gradients_against_differences(only_x64):
    check_grads(jax.jit(lambda e, m: kepler(e, m).value), (0.4, 1.2), order=2, modes=("fwd", "rev"), rtol=1e-6)


def test_gradient_at_a_root_at_the_end_of_the_bracket(tolerance):
    for low, high in ((3.0, 8.0), (0.0, 3.0)):
        slope = jax.grad(lambda a, low=low, high=high: solve_bracketed(lambda x: x - a, low=low, high=high).value)(3.0)
        assert float(slope) == pytest.approx(1.0, rel=tolerance)


def test_the_bracket_has_no_gradient():
    def root(low, high):
        return solve_bracketed(lambda x: x * x - 4.0, low=low, high=high).value

    assert jax.grad(root, argnums=(0, 1))(0.0, 10.0) == (0.0, 0.0)


def test_gradient_through_a_nested_root(tolerance):
    """y solves y = sqrt(x) by a search inside the search for x with sqrt(x) = a: x = a^2, dx/da = 2a."""

    def outer(a):
        def gap(x):
            return solve_bracketed(lambda y: y * y - x, low=0.0, high=20.0).value - a

        return solve_bracketed(gap, low=0.1, high=100.0).value

    value, slope = jax.jit(jax.value_and_grad(outer))(3.0)
    np.testing.assert_allclose([value, slope], [9.0, 6.0], rtol=20 * tolerance)


def test_the_residual_has_no_slope_to_first_order(tolerance):
    slope = jax.grad(lambda a: solve_bracketed(lambda x: jnp.exp(x) - a, low=-5.0, high=5.0).residual)(3.0)
    assert abs(float(slope)) <= 4 * tolerance


# --- Modes and types ------------------------------------------------------------------------------------------------


def test_eager_jit_and_vmap_agree(tolerance):
    anomalies = jnp.asarray([0.05, 1.5, 3.0])
    eager = np.asarray([float(kepler(0.8, m).value) for m in anomalies])
    compiled = jax.jit(lambda m: kepler(0.8, m))
    np.testing.assert_allclose([float(compiled(m).value) for m in anomalies], eager, rtol=tolerance)
    lanes = jax.vmap(lambda m: kepler(0.8, m))(anomalies)
    np.testing.assert_allclose(lanes.value, eager, rtol=tolerance)
    # A lane stops when it is done; a last bit of rounding may decide on one step more.
    assert len(set(lanes.steps.tolist())) > 1
    np.testing.assert_allclose(lanes.steps, [float(compiled(m).steps) for m in anomalies], atol=1.0)
    assert bool(lanes.converged.all())


def test_single_precision_converges_in_any_mode():
    for function, low, high, _ in SMOOTH.values():
        ends = jnp.float32(low), jnp.float32(high)
        found = jax.jit(lambda low, high, f=function: solve_bracketed(f, low=low, high=high))(*ends)
        assert found.value.dtype == jnp.float32
        assert bool(found.converged)
        assert int(found.steps) <= 60


def test_underflow_of_function_values_is_no_failure():
    """Around these roots differences of function values underflow in single precision, and their quotients are NaN."""
    for low, high, power, scale in ((-2.4, 2.2, 1.54, 1e-3), (-1.1, 5.7, 1.81, 0.1), (-7.6, 3.7, 1.58, 0.01)):
        ends = jnp.float32(low), jnp.float32(high)
        found = MONOTONE(jnp.float32(0.0), *ends, jnp.float32(power), jnp.float32(scale))
        assert bool(found.converged)
        assert abs(float(found.value)) < 1e-17


def test_integer_brackets_are_floats(x64):
    for ends in ((0, 10), (jnp.asarray(0), jnp.asarray(10))):
        found = solve_bracketed(lambda x: x * x - 2.0, low=ends[0], high=ends[1])
        assert found.value.dtype == (jnp.float64 if x64 else jnp.float32)
        assert float(found.value) == pytest.approx(math.sqrt(2), rel=1e-6)
