"""Quantiles by bisection against NumPy's, on all shapes of data that a record can meet."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxstake.beacon.quantiles import masked_quantiles
from jaxstake.beacon.records import LEVELS

pytestmark = pytest.mark.usefixtures("only_x64")
N = 48
ALL = (0.0, 0.01, 1 / 3, 0.5, 0.999, 1.0)
compiled = jax.jit(masked_quantiles, static_argnums=2)
numbers = st.floats(-1e12, 1e12, allow_subnormal=False) | st.sampled_from([0.0, -0.0, 1.0, 32.0])


@settings(max_examples=200, deadline=None)
@given(values=hnp.arrays(np.float64, N, elements=numbers), counted=hnp.arrays(bool, N))
def test_against_numpy(values, counted):
    found = np.asarray(compiled(values, counted, ALL))
    if not counted.any():
        assert np.all(np.isnan(found))
        return
    expected = np.quantile(values[counted], ALL)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.ptp(values[counted]))


@pytest.mark.parametrize("levels", [(), (0.5,), LEVELS])
def test_any_number_of_levels(levels):
    values = np.random.default_rng(0).normal(size=1001)
    found = masked_quantiles(values, np.ones(1001, bool), levels)
    assert found.shape == (len(levels),)
    np.testing.assert_array_equal(found, np.quantile(values, levels))


def test_ties_and_neighbouring_floats():
    values = np.array([1.0, 1.0, np.nextafter(1.0, 2.0), np.nextafter(1.0, 2.0), 1.0])
    found = compiled(values, np.ones(5, bool), (0.0, 0.5, 0.75, 1.0))
    assert list(found) == [1.0, 1.0, values[2], values[2]]


def test_order_of_validators_and_a_shift_do_not_matter():
    random = np.random.default_rng(1)
    values, counted = random.normal(size=N), random.random(N) < 0.7
    order = random.permutation(N)
    one = compiled(values, counted, LEVELS)
    np.testing.assert_array_equal(compiled(values[order], counted[order], LEVELS), one)
    np.testing.assert_allclose(compiled(values + 100, counted, LEVELS), one + 100, rtol=1e-13)


def test_eager_compiled_and_mapped_agree():
    random = np.random.default_rng(2)
    values, counted = random.normal(size=(3, N)), random.random((3, N)) < 0.7
    mapped = jax.vmap(lambda x, mask: masked_quantiles(x, mask, LEVELS))(jnp.asarray(values), jnp.asarray(counted))
    for x, mask, row in zip(values, counted, mapped, strict=True):
        np.testing.assert_allclose(masked_quantiles(x, mask, LEVELS), row, rtol=1e-14)
        np.testing.assert_allclose(compiled(x, mask, LEVELS), row, rtol=1e-14)
