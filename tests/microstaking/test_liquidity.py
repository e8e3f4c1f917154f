"""Indicators, the reserve of the dual-layer pool with both its gates, and what a queue costs."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxstake.core.numerics import as_float
from jaxstake.microstaking import liquidity, pools
from jaxstake.microstaking.liquidity import DynamicLayer, Release
from jaxstake.microstaking.pools import Concentrated, ConstantProduct, StableSwap
from tests.oracles import formulas
from tests.oracles.formulas import Bad, Formula

LAYER = DynamicLayer(
    capacity=1e4, release_rate=0.8, refill_rate=0.1, pressure_weight=1.2, volatility_weight=0.25,
    normal_volatility=0.7, threshold=0.15,
)  # fmt: skip
OPEN = {"reserve": 7e3, "pressure": 0.2, "volatility": 0.8, "days": 2.0}
STABLE = StableSwap(reserve_x=3e5, reserve_y=1.9e5, amplification=30.0)
POOLS = {
    "product": ConstantProduct(reserve_x=1e5, reserve_y=1.1e5),
    "range": Concentrated(liquidity=1e6, price=1.0, low=0.8, high=1.2),
    "stable": STABLE,
}


# --- Indicators -------------------------------------------------------------------------------------------------------


def test_indicators_by_hand(tolerance: float) -> None:
    found = liquidity.liquidity_indicator(volume=3e6, price=3000.0, volatility=0.05)
    assert found == pytest.approx(20_000, rel=tolerance)
    found = liquidity.liquidity_efficiency(actual_volume=30.0, potential_volume=120.0, volatility=0.5)
    assert found == pytest.approx(0.5, rel=tolerance)
    assert liquidity.total_liquidity(base=100.0, dynamic=50.0) == 150


def test_indicators_do_not_depend_on_the_unit_of_money(tolerance: float) -> None:
    one = liquidity.liquidity_indicator(volume=3e6, price=3000.0, volatility=0.05)
    cents = liquidity.liquidity_indicator(volume=3e8, price=3e5, volatility=0.05)
    assert cents == pytest.approx(float(one), rel=tolerance)


# --- The dual layer ---------------------------------------------------------------------------------------------------


def by_hand(layer: DynamicLayer, gate: float, reserve: float, days: float) -> list[float]:
    """Released, refilled and left, in two closed exponentials."""
    left = reserve * math.exp(-float(layer.release_rate) * gate * days)
    gap = float(layer.capacity) - left
    end = float(layer.capacity) - gap * math.exp(-float(layer.refill_rate) * days)
    return [reserve - left, end - left, end]


@pytest.mark.parametrize("pressure", [0.0, 0.08, 0.2, 3.0])
def test_release_by_hand(pressure: float, tolerance: float) -> None:
    level = 1.2 * pressure + 0.25 * (0.8 / 0.7 - 1) - 0.15
    arguments = {**OPEN, "pressure": pressure}
    assert liquidity.stress(LAYER, pressure=pressure, volatility=0.8) == pytest.approx(level, abs=4 * tolerance)
    gates = {1.0 * (level > 0): liquidity.release(LAYER, **arguments)}
    gates[1 / (1 + math.exp(-level / 0.05))] = liquidity.soft_release(LAYER, **arguments, temperature=0.05)
    for gate, found in gates.items():
        wanted = by_hand(LAYER, gate, OPEN["reserve"], OPEN["days"])
        assert found.gate == pytest.approx(gate, rel=200 * tolerance)
        parts = [float(found.released), float(found.refilled), float(found.reserve)]
        assert parts == pytest.approx(wanted, rel=200 * tolerance, abs=1e4 * tolerance)


def test_soft_gate_tends_to_the_hard_one() -> None:
    """At a distance from the threshold the difference is below `exp(-distance / temperature)`, as stated."""
    for pressure in (0.0, 0.05, 0.2, 1.0):
        arguments = {**OPEN, "pressure": pressure}
        distance = abs(float(liquidity.stress(LAYER, pressure=pressure, volatility=OPEN["volatility"])))
        hard = float(liquidity.release(LAYER, **arguments).gate)
        for temperature in (0.1, 0.02, 1e-4):
            soft = float(liquidity.soft_release(LAYER, **arguments, temperature=temperature).gate)
            assert abs(soft - hard) <= math.exp(-distance / temperature) + 1e-6


def test_limits_of_the_reserve(tolerance: float) -> None:
    calm = {**OPEN, "pressure": 0.0, "volatility": 0.1}
    assert float(liquidity.release(LAYER, **calm).released) == 0
    assert float(liquidity.release(LAYER, **{**OPEN, "reserve": 0.0}).released) == 0
    assert float(liquidity.release(LAYER, **{**OPEN, "days": 0.0}).reserve) == OPEN["reserve"]
    forever = {**OPEN, "days": 1e4}
    assert liquidity.release(LAYER, **forever).released == pytest.approx(OPEN["reserve"], rel=tolerance)
    assert liquidity.release(LAYER, **forever).reserve == pytest.approx(LAYER.capacity, rel=tolerance)
    never = dataclasses.replace(LAYER, refill_rate=0.0)
    assert float(liquidity.release(never, **OPEN).refilled) == 0
    at_once = liquidity.release(never, **forever)
    assert float(at_once.reserve) == pytest.approx(0, abs=1e4 * tolerance)


rates = st.floats(0, 50)


@settings(max_examples=60, deadline=None)
@given(
    capacity=st.floats(-2, 6), share=st.floats(0, 1), release_rate=rates, refill_rate=rates, pressure=st.floats(0, 10),
    volatility=st.floats(0, 5), days=st.floats(0, 100),
)  # fmt: skip
def test_nothing_is_lost_and_the_reserve_stays_in_bounds(
    capacity: float, share: float, pressure: float, volatility: float, days: float, **more: float
) -> None:
    most = float(jnp.asarray(10.0**capacity, float))  # as the precision of the run has it
    layer = DynamicLayer(capacity=most, **more)
    reserve = min(most, float(jnp.asarray(share * most, float)))
    slack = 4 * float(jnp.finfo(jnp.result_type(float)).eps) * most
    arguments = {"reserve": reserve, "pressure": pressure, "volatility": volatility, "days": days}
    for found in (liquidity.release(layer, **arguments), liquidity.soft_release(layer, **arguments)):
        assert 0 <= float(found.released) <= reserve
        assert float(found.refilled) >= 0
        assert 0 <= float(found.reserve) <= most
        assert abs(reserve + float(found.refilled) - float(found.released) - float(found.reserve)) <= slack


def test_a_year_of_storms_conserves_and_never_overdraws(rng: np.random.Generator, tolerance: float) -> None:
    """The state of one day is the input of the next: rounding must not push it out of its own domain."""
    layer = dataclasses.replace(LAYER, release_rate=30.0, refill_rate=5.0)
    reserve, paid, refilled = jnp.asarray(1e4), 0.0, 0.0
    stormy = jnp.asarray(rng.uniform(0, 0.4, 365), float)

    def day(reserve: Any, pressure: Any) -> tuple[Any, Release]:
        found = liquidity.release(layer, reserve=reserve, pressure=pressure, volatility=0.7, days=1.0)
        return found.reserve, found

    end, path = jax.jit(lambda reserve: jax.lax.scan(day, reserve, stormy))(reserve)
    assert not np.any(np.isnan(path.reserve))
    assert np.all(np.asarray(path.reserve) >= 0)
    assert np.all(np.asarray(path.reserve) <= 1e4)
    paid, refilled = (float(np.sum(np.asarray(x, np.float64))) for x in (path.released, path.refilled))
    assert 1e4 + refilled - paid == pytest.approx(float(end), abs=max(paid, 1e4) * tolerance)
    assert paid > 2e4  # more than the reserve ever held at once, since it refills


def test_more_pressure_and_more_volatility_release_more() -> None:
    def released(pressure: Any, volatility: Any) -> Any:
        arguments = {"reserve": 7e3, "pressure": pressure, "volatility": volatility, "days": 1.0}
        return liquidity.soft_release(LAYER, **arguments, temperature=0.1).released

    slopes = jax.grad(released, argnums=(0, 1))(0.1, 0.7)
    assert slopes[0] > 0
    assert slopes[1] > 0
    hard = jax.grad(lambda p: liquidity.release(LAYER, **{**OPEN, "pressure": p}).released)
    assert hard(0.2) == 0
    assert np.isnan(jax.jit(hard)(jnp.nan))


# --- Markets ----------------------------------------------------------------------------------------------------------


def test_depeg_by_hand(tolerance: float) -> None:
    assert liquidity.depeg(POOLS["product"]) == pytest.approx(0.1, rel=100 * tolerance)
    assert liquidity.depeg(POOLS["product"], redemption_price=1.1) == pytest.approx(0, abs=10 * tolerance)
    balanced = StableSwap(reserve_x=5.0, reserve_y=5.0, amplification=50.0)
    assert liquidity.depeg(balanced) == pytest.approx(-0.0004, rel=1e4 * tolerance)


@pytest.mark.parametrize("pool", list(POOLS.values()), ids=list(POOLS))
def test_impact_of_a_queue_is_that_of_one_sale(pool: Any, tolerance: float) -> None:
    """The sum of the requests counts, not their number or order."""
    requests = [32.0, 1.0, 4.5, 900.0]
    found = liquidity.withdrawal_price_impact(pool, queue=sum(requests))
    start, market = float(pools.spot_price(pool)), pool
    for request in requests:
        market = pools.after_swap(market, amount_in=request)
    assert found == pytest.approx(1 - float(pools.spot_price(market)) / start, abs=200 * tolerance)
    assert liquidity.withdrawal_price_impact(pool, queue=0.0) == pytest.approx(0, abs=10 * tolerance)


def test_a_deeper_market_moves_less(tolerance: float) -> None:
    for pool in POOLS.values():
        total = float(liquidity.total_liquidity(base=100.0, dynamic=50.0))
        deep = liquidity.withdrawal_price_impact(pool, queue=900.0, deepening=total / 100)
        assert deep == pytest.approx(
            float(liquidity.withdrawal_price_impact(pool, queue=600.0)), rel=1e4 * tolerance, abs=100 * tolerance
        )
        assert deep < liquidity.withdrawal_price_impact(pool, queue=900.0)


def test_a_queue_beyond_the_range_is_refused_and_traced_is_nan() -> None:
    pool = POOLS["range"]
    with pytest.raises(ValueError, match="amount_in must be at most the capacity"):
        liquidity.withdrawal_price_impact(pool, queue=1e6)
    found = jax.jit(jax.value_and_grad(lambda q: liquidity.withdrawal_price_impact(pool, queue=q)))(1e6)
    assert np.all(np.isnan(found))


# --- Modes, gradients, bad input --------------------------------------------------------------------------------------

POSITIVE, NOT_NEGATIVE = "greater than 0 and finite", "at least 0 and finite"


def call(name: str, *bad: Bad, label: str = "", first: str = "", **arguments: Any) -> Formula:
    def function(_: Any, **arguments: Any) -> Any:
        if first:
            return getattr(liquidity, name)(arguments.pop(first), **arguments)
        return getattr(liquidity, name)(**arguments)

    function.__name__ = name
    return Formula(function, arguments, frozenset(), bad, label=label)


LAYER_BAD = (
    Bad("layer.capacity", 0.0, POSITIVE), Bad("layer.release_rate", -1.0, NOT_NEGATIVE),
    Bad("layer.normal_volatility", 0.0, POSITIVE), Bad("pressure", -0.1, NOT_NEGATIVE),
    Bad("volatility", -0.1, NOT_NEGATIVE),
)  # fmt: skip
PERIOD_BAD = (*LAYER_BAD, Bad("reserve", -1.0, NOT_NEGATIVE), Bad("days", -1.0, NOT_NEGATIVE))
FULL = Bad("reserve", 2e4, "at most the capacity 10000.0", relational=True)
FORMULAS = [
    call(
        "liquidity_indicator", Bad("volume", -1.0, NOT_NEGATIVE), Bad("price", 0.0, POSITIVE),
        Bad("volatility", 0.0, POSITIVE), volume=3e6, price=3e3, volatility=0.05,
    ),
    call(
        "liquidity_efficiency", Bad("actual_volume", -1.0, NOT_NEGATIVE), Bad("potential_volume", 0.0, POSITIVE),
        Bad("volatility", 0.0, POSITIVE), actual_volume=30.0, potential_volume=100.0, volatility=0.5,
    ),
    call(
        "total_liquidity", Bad("base", -1.0, NOT_NEGATIVE), Bad("dynamic", -1.0, NOT_NEGATIVE), base=100.0, dynamic=9.0
    ),
    call("stress", *LAYER_BAD, first="layer", layer=LAYER, pressure=0.2, volatility=0.8),
    call("release", *PERIOD_BAD, FULL, first="layer", layer=LAYER, **OPEN),
    call(
        "soft_release", *PERIOD_BAD, FULL, Bad("temperature", 0.0, POSITIVE),
        first="layer", layer=LAYER, temperature=0.1, **OPEN,
    ),
    *(
        formula
        for kind, pool in POOLS.items()
        for formula in (
            call(
                "depeg", Bad("redemption_price", 0.0, POSITIVE),
                first="pool", label=kind, pool=pool, redemption_price=1.3,
            ),
            call(
                "withdrawal_price_impact", Bad("queue", -1.0, NOT_NEGATIVE), Bad("deepening", 0.0, POSITIVE),
                first="pool", label=kind, pool=pool, queue=2e4, deepening=1.3,
            ),
        )
    ),
]  # fmt: skip
ENDS = {"pool.low", "pool.high"}
RATES = {"layer.capacity", "layer.release_rate", "layer.refill_rate"}
GATE = {"layer.pressure_weight", "layer.volatility_weight", "layer.normal_volatility", "layer.threshold"}
UNUSED = {
    "stress": RATES, "release": GATE | {"pressure", "volatility"}, "depeg-range": ENDS | {"pool.liquidity"},
    "withdrawal_price_impact-range": ENDS, "withdrawal_price_impact-product": {"pool.reserve_y"},
    "withdrawal_price_impact-stable": {"pool.fee"},
}  # fmt: skip


@pytest.mark.parametrize(**formulas.names(FORMULAS))
def test_modes_agree(formula: Formula, x64: bool) -> None:
    results = formulas.lanes_by_mode(formula)
    slack = 1e-11 if x64 else 2e-4
    for mode in ("jit", "vmap"):
        np.testing.assert_allclose(results[mode], results["eager"], rtol=slack, atol=slack, err_msg=mode)


@pytest.mark.parametrize(**formulas.names(FORMULAS))
def test_gradients_reach_every_argument(formula: Formula, x64: bool) -> None:
    found = formulas.elasticities(formula)
    wanted = formulas.expected_dependence(formula) - UNUSED.get(formula.name, set())
    assert {name for name, value in found.items() if abs(value) > 1e-6} == wanted
    if x64:
        formulas.check_derivatives(formula)


@pytest.mark.parametrize(**formulas.bad_inputs(FORMULAS))
def test_bad_inputs(formula: Formula, bad: Bad) -> None:
    for value, message in formulas.messages(bad):
        with pytest.raises(ValueError, match=message):
            formulas.call_with(formula, bad.name, value)
    found = formulas.traced_value_and_gradient(formula, bad)
    used = bad.name not in UNUSED.get(formula.name, set()) - GATE
    assert np.all(np.isnan(found if used else found[:1]))


def test_numbers_of_other_types_are_accepted() -> None:
    whole = liquidity.release(DynamicLayer(capacity=10_000), reserve=8_000, pressure=1, volatility=1, days=1)
    real = liquidity.release(DynamicLayer(capacity=1e4), reserve=8e3, pressure=1.0, volatility=1.0, days=1.0)
    assert [float(as_float(x)) for x in jax.tree.leaves(whole)] == [float(x) for x in jax.tree.leaves(real)]
