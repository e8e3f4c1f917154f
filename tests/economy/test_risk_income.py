"""The law of an operator's income and its moments: the mean of `apr`, closed forms, invariances, errors."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxstake.core import leaves
from jaxstake.economy import block_value, risk
from jaxstake.economy.apr import apr
from jaxstake.economy.scenario import Scenario
from jaxstake.protocol import duties
from tests.economy.risk_cases import BEHIND, HEAVY, NOTHING, PERFECT, exponential, law, scenario
from tests.economy.scenarios import in_working_precision, random_lanes, with_values
from tests.oracles import compound_scipy


def test_the_mean_is_that_of_the_apr(rng: np.random.Generator, tolerance: float) -> None:
    lanes = random_lanes(rng, 256)
    lanes["network.total_stake_eth"] = np.maximum(
        lanes["network.total_stake_eth"], 600.0 * lanes["validator.effective_balance_eth"]
    )
    arrays, _ = in_working_precision(lanes)
    found = jax.jit(jax.vmap(lambda values: risk.return_moments(with_values(values), validators=1.0).mean))(arrays)
    wanted = jax.jit(jax.vmap(lambda values: apr(with_values(values))))(arrays)
    size = np.asarray(wanted.consensus - 2.0 * wanted.missed + wanted.execution)
    assert np.all(np.isfinite(found))
    assert np.all(np.abs(np.asarray(found - wanted.gross)) <= 10 * tolerance * size)


@pytest.mark.parametrize("validators", [1.0, 2.5, 1_000.0])
@pytest.mark.parametrize("years", [1 / 12, 1.0, 5.0])
def test_the_mean_depends_on_neither_number_nor_horizon(validators: float, years: float, tolerance: float) -> None:
    found = risk.return_moments(scenario(BEHIND), validators=validators, years=years)
    one = risk.return_moments(scenario(BEHIND))
    assert found.mean == pytest.approx(float(one.mean), rel=10 * tolerance)
    # Proposals of an operator exclude each other, a part of the order of its share of the stake.
    share = validators * 64 / 42e6
    assert found.variance * validators * years == pytest.approx(float(one.variance), rel=2 * share + 10 * tolerance)


@pytest.mark.parametrize("payment_eth", [0.0])
def test_moments_of_equal_payments_are_those_of_the_enumeration(payment_eth: float, tolerance: float) -> None:
    found = law(BEHIND, NOTHING, validators=3.0)
    values, mass = compound_scipy.atoms(found, payment_eth=payment_eth)
    mean = values @ mass
    moments = risk.moments(found)
    assert moments.mean == pytest.approx(mean, rel=100 * tolerance)
    assert moments.variance == pytest.approx((values - mean) ** 2 @ mass, rel=100 * tolerance)
    assert moments.third_central == pytest.approx((values - mean) ** 3 @ mass, rel=100 * tolerance)


def test_moments_are_those_of_the_protocol_for_full_uptime(tolerance: float) -> None:
    at = scenario({**BEHIND, "validator.uptime": 1.0})
    found = risk.income_law(at, validators=7.0)
    proposal = duties.Moments(
        mean=found.fixed_eth + block_value.mean(at.block_value),
        variance=block_value.variance(at.block_value),
        third_central=block_value.third_central_moment(at.block_value),
    )
    wanted = duties.yearly_income_moments(
        at.fork,
        validators=7.0,
        effective_balance_eth=64.0,
        total_stake_eth=at.network.total_stake_eth,
        steady_eth=found.steady_eth / 7.0,
        proposal=proposal,
        sync_period_eth=found.seat_eth,
    )
    moments = risk.moments(found)
    assert moments.mean * 448.0 == pytest.approx(float(wanted.mean), rel=10 * tolerance)
    assert moments.variance * 448.0**2 == pytest.approx(float(wanted.variance), rel=10 * tolerance)
    assert duties.skewness(moments) == pytest.approx(float(duties.skewness(wanted)), rel=100 * tolerance)


def test_moments_have_gradients_in_every_leaf(only_x64: None) -> None:
    base = leaves.as_dict(scenario(BEHIND, HEAVY))
    names = [name for name in base if name.split(".")[0] in {"network", "validator", "block_value"}]

    def both(change: dict[str, Any]) -> Any:
        at = scenario({**BEHIND, **{name: base[name] * (1.0 + x) for name, x in change.items()}}, HEAVY)
        found = risk.return_moments(at, validators=2.0)
        return found.mean * 100.0, found.variance * 1e5

    start = dict.fromkeys(names, 0.0)
    check_grads(jax.jit(both), (start,), order=1, modes=("rev",), eps=1e-5, rtol=1e-5)
    slopes = jax.jit(jax.jacobian(both))(start)
    assert all(np.isfinite(value) for value in jax.tree.leaves(slopes))
    used = {name for name in names if slopes[1][name] != 0.0}
    assert {"network.total_stake_eth", "validator.uptime", "block_value.tail_shape"} <= used


def test_infinite_moments_are_infinite() -> None:
    heavier = leaves.replace(HEAVY, {"tail_shape": 0.6})
    found = risk.return_moments(scenario({}, heavier))
    assert np.isfinite(found.mean)
    assert np.isinf(found.variance)
    assert risk.sharpe_ratio(found, risk_free=0.01) == 0.0
    assert np.isinf(risk.return_moments(scenario({}, leaves.replace(HEAVY, {"tail_shape": 1.1}))).mean)


def test_an_absent_validator_has_no_luck_but_bad() -> None:
    found = law({"validator.uptime": 0.0})
    assert found.proposal_chance == 0.0
    assert found.seat_eth < 0.0
    assert risk.moments(found).mean == pytest.approx(float(apr(scenario({"validator.uptime": 0.0})).gross), rel=1e-5)


def test_execution_alone(tolerance: float) -> None:
    at = scenario(BEHIND)
    alone = risk.execution_only(risk.income_law(at, validators=4.0), tips_eth=at.network.tips_per_block_eth)
    assert risk.moments(alone).mean == pytest.approx(float(apr(at).execution), rel=10 * tolerance)


def test_rates_adjusted_for_risk() -> None:
    found = risk.return_moments(scenario(PERFECT, exponential(0.02)))
    deviation = float(duties.standard_deviation(found))
    assert risk.sharpe_ratio(found, risk_free=0.02) == pytest.approx((float(found.mean) - 0.02) / deviation, rel=1e-5)
    wanted = float(found.mean) - 0.001 - 1.5 * deviation**2
    assert risk.risk_adjusted_rate(found, expected_loss=0.001, risk_aversion=3.0) == pytest.approx(wanted, rel=1e-5)
    wanted = float(found.mean) - 2 * deviation
    assert risk.mean_less_deviations(found, deviations=2.0) == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ValueError, match=r"risk_aversion must be at least 0 and finite, got -1\.0"):
        risk.risk_adjusted_rate(found, risk_aversion=-1.0)


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        ({"validator.uptime": 1.5}, {}, r"validator\.uptime must be in \[0, 1\], got 1\.5"),
        ({}, {"validators": 0.5}, r"validators must be at least 1 and finite, got 0\.5"),
        ({}, {"years": 0.0}, r"years must be greater than 0 and finite, got 0\.0"),
        ({"network.total_stake_eth": 1e4}, {}, r"at least sync_committee_size \* effective_balance_eth = 16384\.0"),
        (
            {"network.total_stake_eth": 1e5},
            {"validators": 1e4},
            r"at least validators \* effective_balance_eth = 320000",
        ),
    ],
)
def test_bad_values(change: dict[str, float], more: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        risk.income_law(scenario(change), **more)
    traced = jax.jit(
        lambda change, more: risk.moments(risk.income_law(leaves.replace(Scenario(), change), **more)).mean
    )(change, more)
    assert math.isnan(traced)
