"""Families of block values: what follows from their definitions at random parameters, and their draws."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from jaxstake.economy import block_value
from jaxstake.economy.block_value import LogNormal, LogNormalMixture, LogNormalPareto, SkewLogNormal
from tests.economy.block_value_cases import PAID, arrays, at_levels

_middle, _spread, _unit = st.floats(-5.0, 0.0), st.floats(0.3, 1.4), st.floats(0.05, 0.95)
FAMILIES = {
    "log_normal": st.builds(LogNormal, log_mean=_middle, log_std=_spread),
    "mixture": st.builds(
        LogNormalMixture, first_log_mean=_middle, first_log_std=_spread, second_log_mean=_middle,
        second_log_std=_spread, second_share=_unit,
    ),
    "skew": st.builds(SkewLogNormal, log_location=_middle, log_scale=_spread, log_shape=st.floats(-4.0, 4.0)),
    "pareto": st.builds(
        LogNormalPareto, log_mean=_middle, log_std=_spread, threshold_eth=st.floats(0.02, 0.4), tail_share=_unit,
        tail_scale_eth=st.floats(0.02, 0.4), tail_shape=st.floats(-0.4, 0.6),
    ).filter(lambda at: math.log(at.threshold_eth) > at.log_mean - 4 * at.log_std),  # some body is left
}  # fmt: skip


@jax.jit
def related(distribution: Any, level: Any) -> dict[str, Any]:
    """Pairs that are equal by definition."""
    at = block_value.quantile(distribution, level=level)
    value = jax.lax.stop_gradient(at)
    slope = lambda function: jax.grad(lambda x: function(distribution, value=x))(value)  # noqa: E731
    return {
        "level": (block_value.cdf(distribution, value=value), level),
        "density": (slope(block_value.cdf), jnp.exp(block_value.log_density(distribution, value=value))),
        "survival": (slope(block_value.limited_mean), block_value.survival(distribution, value=value)),
        "whole": (block_value.tail_mean(distribution, level=0.0), block_value.mean(distribution)),
        "capped": (
            block_value.limited_mean(distribution, value=value)
            + (1.0 - level) * (block_value.tail_mean(distribution, level=level) - value),
            block_value.mean(distribution),
        ),
        "quantile": (at, value),
    }


def scaled(distribution: Any, factor: float) -> Any:
    """Only locations in the logarithm and amounts move with the unit."""
    amounts = {"threshold_eth", "tail_scale_eth"}
    places = {"log_mean", "first_log_mean", "second_log_mean", "log_location"}
    move = lambda name, x: x * factor if name in amounts else x + math.log(factor) if name in places else x  # noqa: E731
    return type(distribution)(**{name: move(name, x) for name, x in vars(distribution).items()})


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=25, deadline=None)
@given(data=st.data(), level=st.floats(0.02, 0.98))
def test_identities(name: str, data: st.DataObject, level: float) -> None:
    distribution = data.draw(FAMILIES[name])
    rel = 5e-3 if jnp.result_type(float) == jnp.float32 else 1e-7
    found = related(arrays(distribution), jnp.asarray(level, float))
    for identity, (one, two) in found.items():
        assert float(one) == pytest.approx(float(two), rel=rel), identity
    other = related(arrays(scaled(distribution, 100.0)), jnp.asarray(level, float))
    for identity in ("quantile", "whole", "capped"):
        assert float(other[identity][0]) == pytest.approx(100.0 * float(found[identity][0]), rel=rel)
    for identity in ("level", "survival"):
        assert float(other[identity][0]) == pytest.approx(float(found[identity][0]), rel=rel)


@pytest.mark.parametrize("name", ["mixture", "skew", "pareto"])
def test_mean_is_the_integral_of_the_quantiles(name: str, only_x64: None) -> None:
    """Over normal scores, where the trapezoid rule is sharp but for the kink at a threshold."""
    scores = np.linspace(-8.0, 8.0, 3_201)
    values = np.asarray(at_levels(PAID[name], jnp.asarray(stats.norm.cdf(scores)))["quantile"])
    found = np.sum(values * stats.norm.pdf(scores)) * (scores[1] - scores[0])
    assert found == pytest.approx(float(block_value.mean(PAID[name])), rel=1e-6)


# --- Draws ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAID)
def test_moments_of_draws_within_their_standard_errors(name: str) -> None:
    drawn = np.asarray(block_value.sample(PAID[name], key=jax.random.key(5), shape=(4, 25_000)), np.float64)
    assert drawn.shape == (4, 25_000)
    assert np.all(np.isfinite(drawn) & (drawn > 0))
    spread = math.sqrt(float(block_value.variance(PAID[name])))
    assert abs(drawn.mean() - float(block_value.mean(PAID[name]))) < 4 * spread / math.sqrt(drawn.size)
    logs = np.sort(np.log(drawn.ravel()))
    middle = np.log(np.asarray(at_levels(PAID[name], jnp.asarray([0.25, 0.75, 0.9]))["quantile"]))
    for level, wanted in zip((0.25, 0.75, 0.9), middle, strict=True):
        share = np.searchsorted(logs, wanted) / logs.size, np.searchsorted(logs, wanted, side="right") / logs.size
        slack = 4 * math.sqrt(level * (1 - level) / logs.size)
        assert share[0] - slack <= level <= share[1] + slack or name == "empirical"
    again = block_value.sample(PAID[name], key=jax.random.key(5), shape=(4, 25_000))
    np.testing.assert_array_equal(np.asarray(again, np.float64), drawn)
