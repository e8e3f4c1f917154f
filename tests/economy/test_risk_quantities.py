"""Quantiles, tails and certainty equivalents of a grid against enumeration, sums by NumPy, and their gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxstake.core import leaves
from jaxstake.economy import risk
from jaxstake.economy.block_value import LogNormal
from tests.economy.risk_cases import BEHIND, HEAVY, NOTHING, PERFECT, distribution, exponential, floats, grid, law
from tests.oracles import compound_scipy

SMALL = risk.ReturnDistribution(
    start=0.0, step=0.01, mass=np.asarray([0.1, 0.0, 0.4, 0.3, 0.15]), beyond=0.05, mean=0.05,
    shift=0.001, doubt=0.01, aliasing=0.0, rounding=0.0,
)  # fmt: skip


def small() -> risk.ReturnDistribution:
    return jax.tree.map(floats, SMALL)


def test_by_hand() -> None:
    found = small()
    np.testing.assert_allclose(
        risk.cdf(found, value=floats([-1.0, 0.0, 0.005, 0.015, 0.025, 0.05, 1.0])),
        [0.0, 0.0, 0.05, 0.1, 0.3, 0.95, 0.95],
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        risk.density(found, value=floats([-1.0, 0.005, 0.015, 0.049, 0.06])), [0.0, 10.0, 0.0, 15.0, 0.0], rtol=1e-5
    )
    levels = floats([0.05, 0.3, 0.65, 0.96])
    np.testing.assert_allclose(risk.quantile(found, level=levels), [0.005, 0.025, 0.035, np.nan], rtol=1e-5)
    # 0.1 of mean 0.005 and 0.2 between 0.02 and 0.025; above, half of the last but one cell, 0.15, and the rest.
    assert risk.lower_tail_mean(found, share=0.3) == pytest.approx((0.1 * 0.005 + 0.2 * 0.0225) / 0.3, rel=1e-5)
    inside = 0.1 * 0.005 + 0.4 * 0.025 + 0.3 * 0.035 + 0.15 * 0.045
    assert risk.expected_return(found) == pytest.approx(inside, rel=1e-5)
    best = (0.15 * 0.0375 + 0.15 * 0.045 + (0.05 - inside)) / 0.35
    assert risk.upper_tail_mean(found, share=0.35) == pytest.approx(best, rel=1e-5)
    assert np.isnan(risk.upper_tail_mean(found, share=0.01))
    low, high = risk.cdf_bounds(found, value=0.025)
    assert (float(low), float(high)) == (pytest.approx(0.25, rel=1e-4), pytest.approx(0.35, rel=1e-4))
    low, high = risk.quantile_bounds(found, level=0.3)
    assert (float(low), float(high)) == (pytest.approx(0.02375, rel=1e-4), pytest.approx(0.02625, rel=1e-4))
    assert np.isnan(risk.quantile_bounds(found, level=0.005)[0])
    assert risk.value_at_risk(found, level=0.95) == pytest.approx(-0.005, rel=1e-4)
    assert risk.conditional_value_at_risk(found, level=0.7) == pytest.approx(-(0.0005 + 0.0045) / 0.3, rel=1e-4)


def test_tails_of_exponential_payments_equal_the_enumeration() -> None:
    income = law(PERFECT, exponential(0.05), validators=30.0)
    found = distribution(income)
    values = np.linspace(0.0, 0.2, 400_001)
    chances = compound_scipy.exponential_cdf(income, mean_eth=0.05, value=values[::40])
    chances = np.interp(values, values[::40], chances)
    for share in (0.05, 0.5):
        cut = np.searchsorted(chances, share)
        lower = values[cut] - np.trapezoid(chances[: cut + 1], values[: cut + 1]) / share
        assert risk.lower_tail_mean(found, share=share) == pytest.approx(lower, rel=1e-4)
        cut = np.searchsorted(chances, 1 - share)
        upper = values[cut] + np.trapezoid(1 - chances[cut:], values[cut:]) / share
        assert risk.upper_tail_mean(found, share=share) == pytest.approx(upper, rel=1e-4)


def test_tail_means_add_up_to_the_mean() -> None:
    for block_value in (None, HEAVY):
        found = distribution(law(BEHIND, block_value))
        for share in (0.2, 0.5):
            both = share * risk.lower_tail_mean(found, share=share)
            both += (1 - share) * risk.upper_tail_mean(found, share=1 - share)
            assert both == pytest.approx(float(found.mean), rel=2e-5)


def test_infinite_mean_shows_in_the_upper_tail_alone() -> None:
    found = distribution(law({}, leaves.replace(HEAVY, {"tail_shape": 1.2})))
    assert np.isinf(found.mean)
    assert np.isinf(risk.upper_tail_mean(found, share=0.1))
    assert np.isfinite(risk.lower_tail_mean(found, share=0.1))
    assert np.isfinite(risk.quantile(found, level=0.99))
    assert np.isfinite(risk.certainty_equivalent(found, risk_aversion=2.0))


@pytest.mark.parametrize("aversion", [0.0, 0.5, 0.9995, 1.0, 1.0005, 2.0, 30.0])
def test_certainty_equivalents_equal_the_sum(aversion: float, x64: bool) -> None:
    found = distribution(law(PERFECT, exponential(0.05)))
    middles, mass = grid(found)
    if aversion == 1.0:
        wanted = np.expm1(mass @ np.log1p(middles) / mass.sum())
    else:
        wanted = (mass @ (1 + middles) ** (1 - aversion) / mass.sum()) ** (1 / (1 - aversion)) - 1
    found_at = float(risk.certainty_equivalent(found, risk_aversion=aversion))
    assert found_at == pytest.approx(wanted, rel=1e-8 if x64 else 1e-4)


def test_certainty_equivalent_falls_with_risk_aversion_and_is_smooth_at_one(only_x64: None) -> None:
    found = distribution(law({}, HEAVY))
    sure = lambda aversion: risk.certainty_equivalent(found, risk_aversion=aversion)  # noqa: E731
    at = jax.vmap(sure)(jnp.linspace(0.0, 5.0, 101))
    assert np.all(np.diff(at) < 0)
    assert float(at[0]) == pytest.approx(float(found.mean), rel=1e-6)
    for aversion in (0.1, 0.999, 1.0, 1.001, 3.0):
        check_grads(sure, (aversion,), order=1, modes=("fwd", "rev"), eps=1e-3, rtol=1e-4)
    moments = risk.moments(law({}, HEAVY))
    assert float(sure(2.0)) == pytest.approx(float(risk.risk_adjusted_rate(moments)), abs=5e-6)


PARAMETERS = ("network.total_stake_eth", "validator.uptime", "validator.effective_balance_eth", "block_value.log_mean")


@pytest.mark.parametrize("level", [0.3, 0.5, 0.9, 0.99])
def test_gradients_of_quantiles_equal_differences_of_new_solutions(only_x64: None, level: float) -> None:
    base = {**BEHIND, "network.total_stake_eth": 2e7, "block_value.log_mean": -4.0}
    gradient, solve = jax.jit(jax.value_and_grad(_quantile)), jax.jit(_quantile)
    values = {
        name: jnp.asarray(float(leaves.get(_scenario(base), name))) for name in (*PARAMETERS, "block_value.log_std")
    }
    _, slopes = gradient(values, level)
    for name, at in values.items():
        step = 3e-3 * abs(float(at))
        ends = [float(solve({**values, name: at + sign * step}, level)) for sign in (-1.0, 1.0)]
        wanted = (ends[1] - ends[0]) / (2 * step)
        assert float(slopes[name]) == pytest.approx(wanted, rel=5e-3, abs=1e-4 * abs(ends[0] / float(at))), name


def test_the_gradient_of_a_quantile_is_the_slope_of_the_cdf_over_the_density(only_x64: None) -> None:
    income = law(BEHIND, HEAVY)

    def at(scale: Any, function: Any) -> Any:
        return function(
            risk.distribution(leaves.replace(income, {"block_value.tail_scale_eth": scale}), points=1 << 12)
        )

    scale = jnp.asarray(0.05)
    value = at(scale, lambda found: risk.quantile(found, level=0.8))
    slope = jax.grad(lambda s: at(s, lambda found: risk.quantile(found, level=0.8)))(scale)
    below = jax.grad(lambda s: at(s, lambda found: risk.cdf(found, value=value)))(scale)
    density = at(scale, lambda found: risk.density(found, value=value))
    assert float(slope) == pytest.approx(float(-below / density), rel=1e-9)


def test_gradients_are_finite_within_an_atom_and_nan_beyond_the_grid() -> None:
    income = law({}, NOTHING)

    def at(steady: Any, level: Any) -> Any:
        found = risk.distribution(leaves.replace(income, {"steady_eth": steady}), points=64, beyond=0.1)
        return risk.quantile(found, level=level)

    start = floats(income.steady_eth)
    slope = jax.jit(jax.grad(at))(start, 0.05)  # no proposal and no seat: the steady income moves it
    assert float(slope) == pytest.approx(1 / 32, rel=1e-3)
    assert np.isnan(jax.jit(jax.grad(at))(start, 1.0 - 1e-6))


def test_gradients_of_tails_and_of_the_certainty_equivalent(only_x64: None) -> None:
    income = law(BEHIND, LogNormal(log_mean=-4.0, log_std=0.8))
    names = ("steady_eth", "proposal_chance", "fixed_eth", "block_value.log_mean", "block_value.log_std", "seat_chance")

    def at(change: Any) -> Any:
        moved = {name: leaves.get(income, name) * (1.0 + x) for name, x in change.items()}
        found = risk.distribution(leaves.replace(income, moved), points=1 << 14, width_eth=4.0)
        return (
            risk.lower_tail_mean(found, share=0.3),
            risk.upper_tail_mean(found, share=0.1),
            risk.certainty_equivalent(found, risk_aversion=3.0),
        )

    check_grads(jax.jit(at), (dict.fromkeys(names, jnp.asarray(0.0)),), order=1, modes=("rev",), eps=1e-3, rtol=2e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: risk.quantile(d, level=1.0), r"level must be in \(0, 1\), got 1\.0"),
        (lambda d: risk.quantile(d, level=0.0), r"level must be in \(0, 1\), got 0\.0"),
        (lambda d: risk.lower_tail_mean(d, share=-0.1), r"share must be in \(0, 1\), got -0\.1"),
        (lambda d: risk.certainty_equivalent(d, risk_aversion=-1.0), r"risk_aversion must be at least 0"),
    ],
)
def test_bad_levels(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(small())
    assert np.isnan(jax.jit(lambda d, level: risk.quantile(d, level=level))(small(), 1.5))


def _scenario(values: Any) -> Any:
    from tests.economy.risk_cases import scenario

    return scenario(values)


def _quantile(values: Any, level: Any) -> Any:
    base = {**BEHIND, "network.total_stake_eth": 2e7, "block_value.log_mean": -4.0}
    found = risk.return_distribution(_scenario({**base, **values}), points=1 << 14)
    return risk.quantile(found, level=level)
