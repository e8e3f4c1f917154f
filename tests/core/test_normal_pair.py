"""The chance of two normal numbers against SciPy and Owen's T, its limits and its stated accuracy."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from jax.test_util import check_grads
from scipy import integrate, special, stats

from jaxstake.core.normal_pair import bivariate_normal_cdf

CHANCE = jax.jit(lambda x, y, r: bivariate_normal_cdf(x, y, correlation=r))
BOUNDS = np.array([-3.0, -1.2, -0.4, 0.0, 0.7, 1.9, 4.0])


def owen(x: float, y: float, r: float) -> float:
    """D. B. Owen, Annals of Mathematical Statistics 27 (1956), for bounds that are not 0."""
    root = math.sqrt(1 - r * r)
    apart = 0.5 if x * y < 0 else 0.0
    ends = special.owens_t(x, (y - r * x) / (x * root)) + special.owens_t(y, (x - r * y) / (y * root))
    return 0.5 * (special.ndtr(x) + special.ndtr(y)) - ends - apart


@pytest.mark.parametrize("r", [-0.995, -0.9, -0.3, 0.0, 0.5, 0.97, 0.995])
def test_owens_t_gives_the_same(r: float, x64: bool) -> None:
    bounds = BOUNDS[BOUNDS != 0]
    x, y = (grid.ravel() for grid in np.meshgrid(bounds, bounds))
    found = CHANCE(jnp.asarray(x, float), jnp.asarray(y, float), jnp.asarray(r, float))
    wanted = [owen(a, b, r) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14 if x64 else 1e-6)


@pytest.mark.parametrize(("r", "error"), [(0.999, 1e-10), (-0.999, 1e-10), (0.9999, 1e-9), (-0.9999, 1e-9)])
def test_stated_accuracy_near_full_correlation(r: float, error: float, only_x64: None) -> None:
    bounds = np.concatenate([np.linspace(-3.0, 3.0, 13)[np.linspace(-3.0, 3.0, 13) != 0], [1.0001, -1.001, 0.02]])
    x, y = (grid.ravel() for grid in np.meshgrid(bounds, bounds))
    found = CHANCE(jnp.asarray(x), jnp.asarray(y), jnp.asarray(r))
    wanted = [owen(a, b, r) for a, b in zip(x, y, strict=True)]
    assert np.max(np.abs(found - np.array(wanted))) < error


def test_scipy_gives_the_same(x64: bool) -> None:
    for x, y, r in ((0.3, -0.8, 0.6), (0.0, 1.1, -0.4), (-1.5, -0.2, 0.85), (0.0, 0.0, 0.2)):
        wanted = stats.multivariate_normal(cov=[[1, r], [r, 1]]).cdf([x, y])
        assert float(CHANCE(x, y, r)) == pytest.approx(wanted, abs=1e-7 if x64 else 1e-6)


def test_integral_of_the_conditional(x64: bool) -> None:
    x, y, r = 0.4, 1.3, -0.7
    inner = lambda t: stats.norm.pdf(t) * special.ndtr((y - r * t) / math.sqrt(1 - r * r))  # noqa: E731
    wanted = integrate.quad(inner, -12, x, epsabs=1e-15)[0]
    assert float(CHANCE(x, y, r)) == pytest.approx(wanted, rel=1e-12 if x64 else 1e-5)


@pytest.mark.parametrize("r", [-0.9, 0.0, 0.4])
def test_limits(r: float, tolerance: float) -> None:
    quarter = 0.25 + math.asin(r) / (2 * math.pi)
    assert float(CHANCE(0.0, 0.0, r)) == pytest.approx(quarter, rel=20 * tolerance)
    for x in (-2.0, 0.0, 0.9):
        alone = float(special.ndtr(x))
        for found, wanted in ((CHANCE(x, jnp.inf, r), alone), (CHANCE(jnp.inf, x, r), alone),
                              (CHANCE(x, -jnp.inf, r), 0.0), (CHANCE(-jnp.inf, x, r), 0.0)):  # fmt: skip
            assert float(found) == pytest.approx(wanted, rel=20 * tolerance)
    assert float(CHANCE(jnp.inf, jnp.inf, r)) == 1.0
    slopes = jax.grad(CHANCE, argnums=(0, 1, 2))(0.5, jnp.inf, r)
    assert [float(x) for x in slopes] == pytest.approx([stats.norm.pdf(0.5), 0.0, 0.0], rel=20 * tolerance, abs=1e-7)


@given(x=st.floats(-4.0, 4.0), y=st.floats(-4.0, 4.0), r=st.floats(-0.99, 0.99))
def test_identities(x: float, y: float, r: float) -> None:
    """Symmetry, reflection, and the bounds of Frechet."""
    single = jnp.result_type(float) == jnp.float32
    slack = 2e-6 if single else 5e-15
    found = float(CHANCE(x, y, r))
    one, two = float(special.ndtr(x)), float(special.ndtr(y))
    assert found == pytest.approx(float(CHANCE(y, x, r)), abs=slack)
    assert found + float(CHANCE(x, -y, -r)) == pytest.approx(one, abs=slack)
    assert max(0.0, one + two - 1.0) - slack <= found <= min(one, two) + slack


def test_slopes(only_x64: None) -> None:
    for point in ((0.4, -0.7, 0.6), (-1.1, 0.2, -0.8)):
        check_grads(CHANCE, point, order=2, modes=("fwd", "rev"), atol=1e-6, rtol=1e-6)
    by_correlation = float(jax.grad(CHANCE, argnums=2)(0.4, -0.7, 0.6))
    density = stats.multivariate_normal(cov=[[1, 0.6], [0.6, 1]]).pdf([0.4, -0.7])  # Plackett
    assert by_correlation == pytest.approx(density, rel=1e-12)


def test_shapes_and_modes(tolerance: float) -> None:
    x, r = jnp.asarray([-0.5, 0.3, 1.0]), jnp.asarray([0.1, -0.6, 0.9])
    whole = bivariate_normal_cdf(x, 0.2, correlation=r)
    lanes = jax.jit(jax.vmap(lambda x, r: bivariate_normal_cdf(x, 0.2, correlation=r)))(x, r)
    assert whole.shape == (3,)
    assert bivariate_normal_cdf(jnp.ones((2, 3)), 0.0, correlation=0.5).shape == (2, 3)
    np.testing.assert_allclose(lanes, whole, rtol=20 * tolerance)
    single = bivariate_normal_cdf(jnp.float32(0.1), jnp.float32(0.2), correlation=jnp.float32(0.3))
    assert single.dtype == jnp.float32
    assert np.isnan(bivariate_normal_cdf(jnp.nan, 0.0, correlation=0.5))
