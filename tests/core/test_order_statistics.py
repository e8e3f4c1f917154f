from __future__ import annotations

import functools
import re

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from jax.test_util import check_grads

from jaxstake.core import order_statistics as module
from jaxstake.core.order_statistics import order_statistics, percentiles

LEVELS = (0, 5, 50, 95, 99, 100)


@pytest.fixture(params=["sorted", "selected"])
def way(request, monkeypatch):
    """Both ways at any length; the samples are small, so that a selection takes several turns."""
    if request.param == "selected":
        monkeypatch.setattr(module, "LONGEST_SORT", 0)
        monkeypatch.setattr(module, "FIRST_SAMPLE", 32)
        monkeypatch.setattr(module, "SAMPLE", 8)
    return request.param


@pytest.fixture(params=["float32", "float64"])
def dtype(request, x64):
    if request.param == "float64" and not x64:
        pytest.skip("needs double precision")
    return np.dtype(request.param)


@functools.cache
def compiled(way, ranks):
    """Compiled once for each way, in a test that has the way's settings."""
    return jax.jit(lambda x: order_statistics(x, ranks=ranks))


@functools.cache
def compiled_percentiles(way):
    return jax.jit(lambda x: percentiles(x, levels=LEVELS))


VECTORS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(size=n) ** 3,
    "lognormal": lambda rng, n: np.exp(5 * rng.normal(size=n)),
    "ascending": lambda rng, n: np.arange(n) - 0.25 * n,
    "descending": lambda rng, n: -(np.arange(n) ** 2.0),
    "periodic": lambda rng, n: np.arange(n) % 157 - 40.0,
    "few values": lambda rng, n: rng.integers(-1, 2, size=n) * 32.0,
    "two values": lambda rng, n: np.where(rng.random(n) < 0.5, 1.0, np.nextafter(np.float32(1), 2)),
    "one value": lambda rng, n: np.full(n, -0.1),
    "all but one": lambda rng, n: np.where(np.arange(n) == n // 2, 1.0, 0.0),
    "signed zeros": lambda rng, n: np.where(rng.random(n) < 0.5, 0.0, -0.0),
    "infinities": lambda rng, n: rng.choice([-np.inf, -1.0, 3.0, np.inf], size=n),
    "extremes": lambda rng, n: rng.choice([1e-37, -1e-37, 3e38, -3e38, 0.0], size=n) * (1 - 1e-3 * rng.random(n)),
}


# --- Values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VECTORS)
def test_elements_by_rank(name, way, dtype, rng):
    """Lengths around a block of 4,096, successive ranks and the ends among the ranks."""
    for n, ranks in ((4095, (0, 1, 200, 2047, 2048, 4094)), (8192, (0, 80, 4096, 8190, 8191))):
        x = VECTORS[name](rng, n).astype(dtype)
        found = np.asarray(compiled(way, ranks)(x))
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, np.sort(x)[list(ranks)])


@pytest.mark.parametrize("name", [name for name in VECTORS if name != "infinities"])
def test_percentiles_are_those_of_numpy(name, way, dtype, rng):
    for n in (10, 1000) if way == "selected" else (1, 2, 3, 10, 101, 1000, 5003):
        x = VECTORS[name](rng, n).astype(dtype)
        found = np.asarray(compiled_percentiles(way)(x))
        expected = np.percentile(x.astype(np.float64), LEVELS)
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(found, expected, rtol=2 * eps, atol=2 * eps * np.abs(expected).max())
        assert found.dtype == dtype


@pytest.mark.parametrize("n", range(1, 10))
def test_every_rank_of_every_short_length(n, way, rng):
    x = rng.normal(size=n).astype(np.float32)
    np.testing.assert_array_equal(compiled(way, tuple(range(n)))(x), np.sort(x))


def test_ranks_in_any_order_and_repeated(way, rng):
    x = rng.normal(size=5000).astype(np.float32)
    ranks = (17, 4999, 16, 17, 18, 19, 0)
    np.testing.assert_array_equal(compiled(way, ranks)(x), np.sort(x)[list(ranks)])
    assert compiled(way, ())(x).shape == (0,)


@settings(max_examples=60, deadline=None)
@given(
    x=hnp.arrays(np.float32, 300, elements=st.floats(width=32, allow_nan=False, allow_subnormal=False)),
    few=st.lists(st.floats(width=32, allow_nan=False, allow_subnormal=False), min_size=1, max_size=4),
    mixed=st.lists(st.booleans(), min_size=300, max_size=300),
)
def test_any_vector(x, few, mixed):
    """Any floats, with many equal ones among them."""
    x = np.where(mixed, np.resize(np.asarray(few, np.float32), 300), x)
    for function in (SORTED, selected()):
        np.testing.assert_array_equal(function(x), np.sort(x)[list(RANKS)])


RANKS = (0, 1, 15, 149, 150, 298, 299)
SORTED = compiled("sorted", RANKS)


@functools.cache
def selected():
    """Compiled once with small samples."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LONGEST_SORT": 0, "FIRST_SAMPLE": 16, "SAMPLE": 4}.items():
            patch.setattr(module, name, value)
        function = jax.jit(lambda x: order_statistics(x, ranks=RANKS))
        function(np.zeros(300, np.float32))
    return function


def test_a_long_vector_with_samples_as_they_are(dtype, rng):
    x = rng.lognormal(-2.5, 1.2, 400_001).astype(dtype)
    assert x.size > module.LONGEST_SORT
    eps = np.finfo(dtype).eps
    function = compiled_percentiles("as they are")
    np.testing.assert_allclose(function(x), np.percentile(x.astype(np.float64), LEVELS), rtol=2 * eps)
    few = np.round(x)
    np.testing.assert_array_equal(function(few), np.percentile(few, LEVELS))


# --- Edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nan", [np.nan, -np.nan])
def test_nan_anywhere_is_nan_everywhere(nan, way, dtype, rng):
    function = compiled(way, (0, 2500, 4999))
    for place in (0, 2345, 4999, slice(0, 4990), slice(None)):
        x = rng.normal(size=5000).astype(dtype)
        x[place] = nan
        assert np.isnan(function(x)).all()


def test_a_level_on_an_infinite_element_is_that_element(way):
    """Between a finite and an infinite one it is as NumPy's formula has it."""
    found = percentiles(jnp.asarray([jnp.inf, 1.0, 2.0, 3.0, -jnp.inf]), levels=(0, 20, 25, 75, 90, 100))
    np.testing.assert_array_equal(found, [-np.inf, -np.inf, 1.0, 3.0, np.nan, np.inf])
    same = percentiles(jnp.full(4, jnp.inf), levels=(10, 90))
    np.testing.assert_array_equal(same, [np.inf, np.inf])


def test_subnormal_numbers_are_told_apart(way, dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    x = tiny * np.asarray([3, 1, -2, 0, 2] * 2000, dtype)
    bits = np.asarray(compiled(way, (0, 2000, 4000, 6000, 9999))(x)).view(f"i{dtype.itemsize}")
    np.testing.assert_array_equal(bits, (tiny * np.asarray([-2, 0, 1, 2, 3], dtype)).view(f"i{dtype.itemsize}"))


def test_what_is_no_vector_of_floats_is_refused():
    with pytest.raises(ValueError, match=r"x must be a vector of 1 to 2147483647 elements, got shape \(2, 3\); vmap"):
        order_statistics(jnp.zeros((2, 3)), ranks=(0,))
    with pytest.raises(ValueError, match=r"got shape \(0,\)"):
        percentiles(jnp.zeros(0), levels=(50,))
    with pytest.raises(ValueError, match=r"ranks must be in \[0, 3\), got \(1, 3\)"):
        order_statistics(jnp.zeros(3), ranks=(1, 3))
    with pytest.raises(ValueError, match=r"levels must be in \[0, 100\], got \(50, 101\)"):
        percentiles(jnp.zeros(3), levels=(50, 101))
    with pytest.raises(TypeError, match="x must be an array of floats, got int32"):
        order_statistics(jnp.zeros(3, jnp.int32), ranks=(1,))


# --- Derivatives ----------------------------------------------------------------------------------------------------


def test_the_gradient_is_that_of_the_selected_elements(way, rng, tolerance):
    """Of the median of 11: one at the sixth. Between two elements: by their distance."""
    x = jnp.asarray(rng.permutation(11) * 1.0)
    slope = jax.jit(jax.grad(lambda x: percentiles(x, levels=(50,))[0]))(x)
    np.testing.assert_array_equal(slope, x == 5.0)
    slope = jax.jit(jax.grad(lambda x: percentiles(x, levels=(12,))[0]))(x)
    np.testing.assert_allclose(slope, jnp.where(x == 1, 0.8, jnp.where(x == 2, 0.2, 0.0)), rtol=10 * tolerance)


def test_equal_elements_share_the_gradient(way):
    slope = jax.grad(lambda x: order_statistics(x, ranks=(2,))[0])(jnp.asarray([1.0, 7.0, 5.0, 5.0, 5.0, 0.0]))
    np.testing.assert_allclose(slope, [0, 0, 1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-6)


def test_gradients_against_differences(way, rng, only_x64):
    x = jnp.asarray(rng.normal(size=50))
    function = jax.jit(lambda x: percentiles(x**3 + x, levels=(10, 50, 97)))
    check_grads(function, (x,), order=2, modes=("fwd", "rev"), eps=1e-7, rtol=1e-5, atol=1e-5)


def test_derivatives_of_a_family(way, rng, tolerance):
    """Percentiles of `exp(m + s z)` scale with their own quantile of z: d/dm is the value, d/ds is z times it."""
    z = jnp.asarray(rng.normal(size=2001))
    chosen = percentiles(z, levels=(5, 50, 95))

    def family(m, s):
        return percentiles(jnp.exp(m + s * z), levels=(5, 50, 95))

    by_m, by_s = jax.jit(jax.jacobian(family, argnums=(0, 1)))(-2.5, 1.2)
    expected = np.exp(-2.5 + 1.2 * np.asarray(chosen))
    np.testing.assert_allclose(by_m, expected, rtol=10 * tolerance)
    np.testing.assert_allclose(by_s, expected * chosen, rtol=10 * tolerance, atol=10 * tolerance)


def test_a_nan_has_no_gradient(way):
    slope = jax.grad(lambda x: percentiles(x, levels=(50,))[0])(jnp.asarray([1.0, jnp.nan, 2.0]))
    assert np.isnan(slope).all()


# --- Modes ----------------------------------------------------------------------------------------------------------


def test_eager_jit_and_vmap_agree(way, dtype, rng):
    names, ranks = ("normal", "few values", "lognormal", "ascending"), (0, 2500, 4990)
    x = np.stack([VECTORS[name](rng, 5000).astype(dtype) for name in names])
    x[2, 100] = np.nan
    one = [np.asarray(compiled(way, ranks)(row)) for row in x]
    lanes = jax.jit(jax.vmap(lambda x: order_statistics(x, ranks=ranks)))(x)
    np.testing.assert_array_equal(lanes, one)
    np.testing.assert_array_equal(order_statistics(jnp.asarray(x[1]), ranks=ranks), one[1])
    assert np.isnan(one[2]).all()


def test_half_precision(way, rng):
    x = jnp.asarray(rng.normal(size=3000), jnp.bfloat16)
    found = compiled(way, (0, 1500, 2999))(x)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found, np.sort(np.asarray(x))[[0, 1500, 2999]])


def test_selection_does_not_sort_the_vector(rng):
    """The largest array that the compiled selection sorts is a sample."""
    x = jnp.asarray(rng.normal(size=1 << 20), jnp.float32)
    text = str(jax.make_jaxpr(lambda x: order_statistics(x, ranks=(5, 1 << 19)))(x))
    sizes = [int(size) for size in re.findall(r":i32\[(?:\d+,)?(\d+)\] = sort\[", text)]
    assert set(sizes) == {module.FIRST_SAMPLE, module.SAMPLE}
