"""The distribution on a grid against enumeration, published numbers, invariances, and its own bounds."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxstake.economy import risk
from jaxstake.economy.block_value import LogNormal, WithZeros
from jaxstake.economy.risk import lattice, transform
from jaxstake.economy.scenario import Costs
from tests.economy.risk_cases import (
    BEHIND,
    HEAVY,
    NOTHING,
    PERFECT,
    distribution,
    exponential,
    floats,
    grid,
    law,
    moved,
    scenario,
)
from tests.oracles import compound_scipy

LEVELS = (0.01, 0.1, 0.5, 0.9, 0.99)
FAMILIES = {
    "lognormal": LogNormal(log_mean=-4.5, log_std=0.8),
    "wide": LogNormal(log_mean=-2.5, log_std=1.2),
    "nothing": NOTHING,
    "some": WithZeros(paid_share=0.7, paid=LogNormal(log_mean=-4.0, log_std=1.0)),
    "heavy": HEAVY,
    "equal": LogNormal(log_mean=-3.0, log_std=0.0),
}


def normal(found: Any) -> None:
    """Chances that add up, are not negative but for rounding, and give a rising cdf."""
    _, mass = grid(found)
    rounding = float(found.rounding)
    assert mass.sum() + float(found.beyond) == pytest.approx(1.0, abs=rounding)
    assert mass.min() > -rounding
    assert np.diff(np.cumsum(mass)).min() > -rounding


def test_published_dispersion_of_consensus_income(published: dict[str, Any]) -> None:
    """Published quantiles are those of the law, enumerated; the published mean and deviation are slightly off."""
    stated = published["dispersion_500k"]["value"]
    consensus = law({**PERFECT, "network.total_stake_eth": 16e6}, NOTHING)
    values, mass = compound_scipy.atoms(consensus, payment_eth=0.0)
    mean, deviation = 32 * values @ mass, 32 * math.sqrt((values - values @ mass) ** 2 @ mass)
    assert mean == pytest.approx(1.33058, abs=1e-5)
    assert deviation == pytest.approx(0.10254, abs=1e-5)
    assert abs(mean - stated["mean"]) > 3e-4
    assert abs(deviation - stated["sd_published"]) > 1e-3
    found = distribution(consensus, points=1 << 16)
    normal(found)
    at = [float(risk.quantile(found, level=level)) * 32 for level in (0.1, 0.5, 0.9)]
    exact = [32 * compound_scipy.atoms_quantile(values, mass, level) for level in (0.1, 0.5, 0.9)]
    np.testing.assert_allclose(at, exact, atol=3e-5)
    np.testing.assert_allclose(at, [stated["p10"], stated["median"], stated["p90"]], atol=3e-4)
    assert float(risk.expected_return(found)) * 32 == pytest.approx(mean, rel=3e-6)


@pytest.mark.parametrize("validators", [1.0, 30.0])
@pytest.mark.parametrize("uptime", [1.0, 0.3])
def test_exponential_payments_equal_the_enumeration(validators: float, uptime: float, x64: bool) -> None:
    """Also where a sync seat costs more than it earns, at an uptime below one half."""
    income = law({**PERFECT, "validator.uptime": uptime}, exponential(0.05), validators=validators)
    found = distribution(income)
    normal(found)
    start = 0.5 if validators == 1.0 else 0.0  # below lies the atom of no proposal
    levels = np.asarray([0.6, 0.75, 0.9, 0.99, 0.9999]) if start else np.asarray([0.05, 0.2, 0.5, 0.9, 0.99, 0.9999])
    at = np.asarray(risk.quantile(found, level=floats(levels)), np.float64)
    exact = compound_scipy.exponential_cdf(income, mean_eth=0.05, value=at)
    np.testing.assert_allclose(exact, levels, atol=2e-5 if x64 else 5e-5)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("validators", [1.0, 200.0])
def test_grids_of_every_family(name: str, validators: float, x64: bool) -> None:
    income = law(BEHIND, FAMILIES[name], validators=validators)
    found = distribution(income)
    normal(found)
    middles, mass = grid(found)
    exact = risk.moments(income)
    assert float(found.mean) == pytest.approx(float(exact.mean))
    beyond = float(found.mean) - mass @ middles
    if float(found.beyond) < 1e-8:
        # Splitting keeps the mean and adds at most a quarter of a square step a payment, and spreading a twelfth.
        payments = float(income.slots * income.proposal_chance + income.seat_trials * income.seat_chance)
        added = float(found.step) ** 2 * (0.25 * payments + 1 / 12)
        assert abs(beyond) < (1e-6 * middles.max() if x64 else 1e-5 + float(found.shift))
        variance = mass @ (middles - mass @ middles) ** 2
        slack = 1e-6 if x64 else 2e-3 if name != "equal" else 2e-2
        assert (0.999 - slack) * float(exact.variance) <= variance <= (1 + slack) * float(exact.variance) + added
    else:
        assert beyond > 0


@pytest.mark.parametrize("name", ["wide", "heavy"])
def test_bounds_of_a_coarse_grid_hold_a_fine_one(name: str) -> None:
    income = law(PERFECT, FAMILIES[name], validators=3.0)
    coarse, fine = distribution(income, points=1 << 10), distribution(income)
    at = floats(np.linspace(float(risk.quantile(fine, level=1e-3)), float(risk.quantile(fine, level=0.999)), 200))
    low, high = risk.cdf_bounds(coarse, value=at)
    fine_low, fine_high = risk.cdf_bounds(fine, value=at)
    assert np.all(np.asarray(low <= fine_high))
    assert np.all(np.asarray(high >= fine_low))
    assert np.all(np.asarray(low <= high))
    for level in LEVELS:
        below, above = risk.quantile_bounds(coarse, level=level)
        assert below < risk.quantile(fine, level=level) < above


def test_single_precision_stays_within_its_bounds(only_x64: None) -> None:
    for validators in (1.0, 100.0, 3_000.0):
        double = law(BEHIND, validators=validators)
        single = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), double)
        exact, found = distribution(double), distribution(single)
        assert found.mass.dtype == jnp.float32
        levels = np.linspace(0.2, 0.999, 50) if validators == 1.0 else np.linspace(1e-3, 0.999, 50)
        at = risk.quantile(exact, level=floats(levels))
        low, high = risk.cdf_bounds(found, value=at.astype(jnp.float32))
        assert np.all(np.asarray(low) <= levels)
        assert np.all(np.asarray(high) >= levels)
        assert float(found.doubt) < 5e-3


def test_largest_grid(x64: bool) -> None:
    found, coarse = distribution(law({}), points=1 << 20), distribution(law({}))
    assert found.mass.shape == (1 << 20,)
    levels = floats(LEVELS[1:])
    np.testing.assert_allclose(
        risk.quantile(found, level=levels), risk.quantile(coarse, level=levels), rtol=1e-4 if x64 else 1e-3
    )


def test_what_lies_beyond_is_exact(only_x64: None) -> None:
    """A narrow grid has the mass of a wide one, and the rest beyond: nothing comes round its end."""
    income = law({}, HEAVY)
    wide = distribution(income, points=1 << 16, width_eth=60.0)
    narrow = distribution(income, points=1 << 11, width_eth=60.0 / 32)
    assert float(narrow.beyond) > 1e-5
    np.testing.assert_allclose(narrow.mass, wide.mass[: 1 << 11], rtol=0.0, atol=1e-11)
    rest = float(jnp.sum(wide.mass[1 << 11 :]) + wide.beyond)
    assert float(narrow.beyond) == pytest.approx(rest, abs=float(narrow.aliasing) + 1e-10)


@settings(max_examples=15, deadline=None)
@given(
    log_mean=st.floats(-7.0, -1.0),
    log_std=st.floats(0.0, 2.0),
    uptime=st.floats(0.0, 1.0),
    stake=st.floats(1e6, 1e8),
    validators=st.floats(1.0, 500.0),
)
def test_any_law_gives_a_distribution(
    log_mean: float, log_std: float, uptime: float, stake: float, validators: float
) -> None:
    values = {"validator.uptime": uptime, "network.total_stake_eth": stake}
    income = law(values, LogNormal(log_mean=log_mean, log_std=log_std), validators=validators)
    found = distribution(income, points=1 << 10)
    normal(found)
    middles, mass = grid(found)
    least = mass @ middles + float(found.beyond) * middles[-1]
    assert least <= float(found.mean) + float(found.shift) + float(found.doubt) * np.abs(middles).max()


@settings(max_examples=10, deadline=None)
@given(factor=st.floats(0.1, 10.0), uptime=st.floats(0.5, 1.0))
def test_amounts_scale_quantiles(factor: float, uptime: float) -> None:
    one = law({"validator.uptime": uptime})
    amounts = {name: getattr(one, name) * factor for name in ("steady_eth", "fixed_eth", "seat_eth")}
    shifted = {"block_value.log_mean": one.block_value.log_mean + math.log(factor)}
    many = moved(one, {**amounts, **shifted})
    levels = floats((0.5, 0.9, 0.99))
    a, b = (risk.quantile(distribution(income, points=1 << 10), level=levels) for income in (one, many))
    np.testing.assert_allclose(np.asarray(b), factor * np.asarray(a), rtol=2e-5)


def test_a_number_of_validators_is_as_good_as_their_balance(x64: bool) -> None:
    """Ten validators of 32 ETH and five of 64 have the same luck but in the number of seats at a time."""
    one, other = law({}, validators=10.0), law({"validator.effective_balance_eth": 64.0}, validators=5.0)
    assert one.proposal_chance == pytest.approx(float(other.proposal_chance))
    levels = floats((0.1, 0.5, 0.9))
    a, b = (risk.quantile(distribution(income), level=levels) for income in (one, other))
    np.testing.assert_allclose(a, b, rtol=1e-3)


def test_costs_and_commission_move_the_grid() -> None:
    found = distribution(law({}))
    net = risk.net_of_costs(found, Costs(commission=0.1, annual_cost_eth=0.064), effective_balance_eth=32.0)
    for level in LEVELS:
        wanted = 0.9 * float(risk.quantile(found, level=level)) - 0.002
        assert risk.quantile(net, level=level) == pytest.approx(wanted, rel=1e-4)
    assert net.mean == pytest.approx(0.9 * float(found.mean) - 0.002, rel=1e-5)
    with pytest.raises(ValueError, match=r"commission must be in \[0, 1\], got 2\.0"):
        risk.net_of_costs(found, Costs(commission=2.0), effective_balance_eth=32.0)


def test_modes_agree(x64: bool) -> None:
    changes = floats((0.9, 0.95, 1.0))

    def quantiles(uptime: Any) -> Any:
        found = risk.return_distribution(scenario({"validator.uptime": uptime}), points=1 << 10)
        return risk.quantile(found, level=floats(LEVELS)), found.beyond

    batch = jax.jit(jax.vmap(quantiles))(changes)
    single = [jax.jit(quantiles)(x) for x in changes]
    np.testing.assert_allclose(batch[0], [x[0] for x in single], rtol=1e-9 if x64 else 1e-4)
    np.testing.assert_allclose(quantiles(changes[1])[0], batch[0][1], rtol=1e-9 if x64 else 1e-4)


def test_bad_lanes_are_nan() -> None:
    found = jax.jit(jax.vmap(lambda u: risk.return_distribution(scenario({"validator.uptime": u}), points=64)))(
        floats((0.9, 1.5, jnp.nan))
    )
    for name in ("start", "step", "mean", "shift", "doubt"):
        values = np.asarray(getattr(found, name))
        assert np.isnan(values[1:]).all(), name
        assert np.isfinite(values[0]), name
    assert np.isnan(np.asarray(found.mass)[1:]).all()
    assert np.isnan(np.asarray(jax.vmap(lambda d: risk.quantile(d, level=0.5))(found))[1:]).all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"points": 1000}, "points must be a power of two from 64 to 16777216, got 1000"),
        ({"beyond": 0.0}, r"beyond must be in \(0, 0\.1\], got 0\.0"),
        ({"width_eth": -1.0}, r"width_eth must be greater than 0 and finite, got -1\.0"),
    ],
)
def test_bad_grids(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        risk.distribution(law({}), **more)


def test_counts_are_bounded_by_chernoff() -> None:
    from scipy import stats

    for expected in (1e-3, 0.2, 2.0, 50.0, 2e4):
        for nats in (3.0, 20.0):
            bound = float(lattice.count_bound(expected, nats=nats))
            exact = stats.poisson.isf(math.exp(-nats), expected)
            assert bound >= exact - 1e-3 * exact
            assert bound <= exact + 3.0 + 0.1 * exact


def test_roots_of_unity_are_exact_for_large_powers(x64: bool) -> None:
    points = 1 << 12
    factors = np.arange(points // 2 + 1)
    for power in (1, 12_345_678, -987_654_321):
        real, imaginary = transform._circle(factors, jnp.asarray(power, jnp.int32), points=points, dtype=float)
        angle = -2 * math.pi * (factors * power % points) / points
        np.testing.assert_allclose(real, np.cos(angle), atol=1e-14 if x64 else 1e-6)
        np.testing.assert_allclose(imaginary, np.sin(angle), atol=1e-14 if x64 else 1e-6)
