from __future__ import annotations

import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from jax.test_util import check_grads

from jaxstake.core.numerics import (
    as_float,
    expm1_ratio,
    keep_where,
    log1p_ratio,
    positive_part,
    safe_divide,
    safe_log,
    safe_sqrt,
)

ONE_ARGUMENT = [safe_sqrt, safe_log, positive_part]


def value_slope_and_curvature(function, x: float) -> list[float]:
    slope = jax.grad(function)
    return [float(f(jnp.asarray(x))) for f in (function, slope, jax.grad(slope))]


# --- Values and gradients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (safe_sqrt, 4.0, [2.0, 0.25, -1 / 32]),
        (safe_log, 4.0, [math.log(4), 0.25, -1 / 16]),
        (positive_part, 4.0, [4.0, 1.0, 0.0]),
        (lambda x: safe_divide(8.0, x), 4.0, [2.0, -0.5, 0.25]),
        (lambda x: safe_divide(x, 4.0), 8.0, [2.0, 0.25, 0.0]),
    ],
)
def test_inside_the_domain(function, x, expected, tolerance):
    np.testing.assert_allclose(value_slope_and_curvature(function, x), expected, rtol=tolerance)


@pytest.mark.parametrize("x", [0.0, -0.0, -1.0, -1e30])
@pytest.mark.parametrize("function", ONE_ARGUMENT)
def test_at_and_below_the_kink(function, x):
    """Value 0 and derivatives 0, of any order, forward and reverse."""
    assert value_slope_and_curvature(function, x) == [0.0, 0.0, 0.0]
    assert float(jax.jvp(function, (jnp.asarray(x),), (jnp.asarray(1.0),))[1]) == 0.0


def test_values_at_zero_can_be_chosen():
    assert value_slope_and_curvature(lambda x: safe_log(x, at_zero=-7.0), 0.0) == [-7.0, 0.0, 0.0]
    assert value_slope_and_curvature(lambda x: safe_divide(3.0, x, at_zero=9.0), 0.0) == [9.0, 0.0, 0.0]
    assert value_slope_and_curvature(lambda x: safe_divide(x, 0.0, at_zero=9.0), 5.0) == [9.0, 0.0, 0.0]
    assert float(safe_divide(0.0, 0.0)) == 0.0


@pytest.mark.parametrize("function", ONE_ARGUMENT)
def test_gradients_are_the_derivatives(function, only_x64):
    for x in (0.7, 40.0):
        check_grads(function, (x,), order=2, modes=("fwd", "rev"), rtol=1e-5)
    check_grads(safe_divide, (3.0, -0.4), order=2, modes=("fwd", "rev"), rtol=1e-6)


def test_square_root_of_a_sum_of_squares_has_a_gradient_at_zero():
    """What the double `where` is for: the outer derivative meets an inner one of 0."""
    gradient = jax.grad(lambda v: safe_sqrt(jnp.sum(v * v)))(jnp.zeros(3))
    assert gradient.tolist() == [0.0, 0.0, 0.0]


NORMAL = st.floats(-100.0, 100.0, width=32, allow_subnormal=False)  # XLA takes what is smaller for zero


@given(x=NORMAL, y=NORMAL)
def test_against_the_math_module(x, y):
    close = {"rel": 1e-6, "abs": 1e-30}
    assert float(safe_sqrt(x)) == pytest.approx(math.sqrt(max(x, 0.0)), **close)
    assert float(positive_part(x)) == pytest.approx(max(x, 0.0), **close)
    assert float(safe_log(x, at_zero=5.0)) == pytest.approx(math.log(x) if x > 0 else 5.0, rel=1e-5, abs=1e-6)
    if abs(y) > 1e-30:
        assert float(safe_divide(x, y, at_zero=5.0)) == pytest.approx(x / y, **close)


@pytest.mark.parametrize("otherwise", [0.0, math.nan])
def test_keep_where(otherwise):
    """The value with slope 1 where the condition holds, else what was asked for, in value and gradient alike."""
    values = jnp.asarray([2.0, -2.0, jnp.nan])
    kept = lambda x: keep_where(x > 0, x, otherwise=otherwise)  # noqa: E731
    both = jax.vmap(jax.value_and_grad(kept))
    for run in (both, jax.jit(both)):
        value, slope = (np.asarray(array) for array in run(values))
        np.testing.assert_array_equal(slope, [1.0, otherwise, otherwise])
        np.testing.assert_array_equal(value, [2.0, -2.0 * otherwise, np.nan])
    np.testing.assert_array_equal(jax.vmap(kept)(values), value)
    np.testing.assert_array_equal(jax.vmap(jax.hessian(kept))(values)[0], 0.0)
    assert keep_where(True, 3.0, otherwise=otherwise) == 3.0
    assert keep_where(values > 0, jnp.ones(3, jnp.float32), otherwise=otherwise).dtype == jnp.float32


# --- Ratios with a hole at 0 ----------------------------------------------------------------------------------------

RATIOS = {
    "expm1": (expm1_ratio, math.expm1, lambda k: 1 / (k + 1)),
    "log1p": (log1p_ratio, math.log1p, lambda k: (-1) ** k * math.factorial(k) / (k + 1)),
}
"""With k-th derivatives at 0."""


@pytest.mark.parametrize("name", RATIOS)
def test_ratios_on_either_side_of_the_series(name, tolerance):
    function, above, _ = RATIOS[name]
    run = jax.jit(function)
    for x in (1e-300, -1e-12, 1e-8, -1e-3, 0.0199, 0.02, -0.0201, 0.3, -0.9, 5.0):
        x = float(jnp.asarray(x))
        assert float(run(x)) == pytest.approx(above(x) / x if x else 1.0, rel=4 * tolerance)
    assert np.isnan(run(jnp.nan))


@pytest.mark.parametrize("name", RATIOS)
def test_ratios_have_their_derivatives_at_zero(name, tolerance):
    function, _, wanted = RATIOS[name]
    for k in range(4):
        assert float(function(0.0)) == pytest.approx(wanted(k), rel=4 * tolerance)
        function = jax.grad(function)


@pytest.mark.parametrize("name", RATIOS)
def test_derivatives_of_ratios_agree_across_the_join(name, only_x64):
    """Divided differences of the function itself at high precision are not needed: the series and the quotient meet."""
    function = RATIOS[name][0]
    for order, limit in ((1, 1e-11), (2, 1e-9)):
        slope = function
        for _ in range(order):
            slope = jax.grad(slope)
        for join in (-0.02, 0.02):
            inside, outside = slope(join * (1 - 1e-12)), slope(join * (1 + 1e-12))
            assert float(inside) == pytest.approx(float(outside), rel=limit)
    for x in (-0.5, 0.01, 0.7):
        check_grads(function, (x,), order=2, modes=("fwd", "rev"), rtol=1e-5)


def test_ratios_far_away():
    assert math.isinf(expm1_ratio(jnp.inf))
    assert float(expm1_ratio(-1e30)) == pytest.approx(1e-30, rel=1e-6)
    assert math.isinf(log1p_ratio(-1.0))


# --- NaN and infinity -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [*ONE_ARGUMENT, lambda x: safe_divide(x, 2.0), lambda x: safe_divide(2.0, x)])
def test_nan_stays_nan_in_value_and_gradient(function):
    """The gradient of what was poisoned before: by a factor of NaN."""
    assert np.isnan(function(jnp.nan))
    value, slope = jax.value_and_grad(lambda x: function(x * jnp.nan))(2.0)
    assert np.isnan(value)
    assert np.isnan(slope)


def test_nan_over_zero_is_nan():
    assert np.isnan(safe_divide(jnp.nan, 0.0))
    assert np.isnan(safe_divide(jnp.nan, 0.0, at_zero=1.0))
    lanes = safe_divide(jnp.asarray([jnp.nan, 1.0, 1.0]), jnp.asarray([0.0, 0.0, jnp.nan]))
    assert np.array_equal(lanes, [np.nan, 0.0, np.nan], equal_nan=True)
    assert float(safe_divide(jnp.inf, 0.0, at_zero=1.0)) == 1.0


# --- Types ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        as_float,
        *ONE_ARGUMENT,
        expm1_ratio,
        log1p_ratio,
        lambda x: safe_divide(x, 2),
        lambda x: safe_divide(2.0, x),
    ],
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_precision_is_kept(function, dtype):
    for x in (jnp.asarray(1.5, dtype), jnp.ones((2, 3), dtype)):
        found = function(x)
        assert found.dtype == dtype
        assert found.shape == x.shape
        assert jax.jit(function)(x).dtype == dtype
    assert jax.grad(function)(jnp.asarray(1.5, dtype)).dtype == dtype


@pytest.mark.parametrize("function", [as_float, *ONE_ARGUMENT, lambda x: safe_divide(x, x)])
@pytest.mark.parametrize("make", [int, np.int64, jnp.asarray, np.float64, bool, np.bool_])
def test_numbers_of_any_kind_take_the_default_precision(function, make, x64):
    default = jnp.float64 if x64 else jnp.float32
    for run in (function, jax.jit(function)):
        found = run(make(1))
        assert found.dtype == default
        assert float(found) == float(function(1.0))


def test_python_numbers_adopt_the_precision_of_their_partner():
    single = jnp.asarray(2.0, jnp.float32)
    for number in (3, 3.0, True):
        assert as_float(number).weak_type
        assert (as_float(number) * single).dtype == jnp.float32
        assert jnp.maximum(as_float(number), single).dtype == jnp.float32
    for number in (3, 3.0):
        assert jax.jit(lambda n: as_float(n) * single)(number).dtype == jnp.float32
    assert safe_divide(3, single).dtype == jnp.float32


def test_eager_jit_and_vmap_agree():
    values = jnp.asarray([-1.0, 0.0, 0.3, 7.0, jnp.nan])
    for function in (*ONE_ARGUMENT, lambda x: safe_divide(1.0, x)):
        eager = np.asarray([float(function(x)) for x in values])
        for found in (function(values), jax.jit(function)(values), jax.vmap(function)(values)):
            np.testing.assert_allclose(found, eager, rtol=4 * float(jnp.finfo(values.dtype).eps))
