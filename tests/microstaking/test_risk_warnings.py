"""Risk warnings: each quantity by hand, margins and states, exact gradients, lanes, bad input."""

from __future__ import annotations

import csv
import dataclasses
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jaxstake.core import leaves
from jaxstake.microstaking import assessment, concentration, pools, risk_quantities, risk_scenario, risk_warnings
from jaxstake.microstaking.risk_scenario import ListedOperators, ModelledOperators, WarningScenario, list_operators
from jaxstake.protocol import forks

FULU = forks.get("fulu")
# A stressed day, on which every quantity is moved by every lever that it has.
STRESSED = leaves.replace(
    WarningScenario(),
    {
        "queues.exit_eth": 300_000.0,
        "market.pool.reserve_x": 900_000.0,
        "market.pool.reserve_y": 400_000.0,
        "market.sold_share": 0.4,
        "security.loss_fraction": 0.9,
        "security.success": 0.9,
    },
)
LANES = 160


@pytest.fixture(scope="module")
def report() -> dict[str, risk_warnings.RiskWarning]:
    return {warning.name: warning for warning in risk_warnings.warn(STRESSED, fork=FULU)}


@pytest.fixture(scope="module")
def margins_of() -> Any:
    """Margins [S] by name of several scenarios, in one batch that is compiled once."""
    compiled = jax.jit(jax.vmap(lambda scenario: risk_warnings.margins(scenario, fork=FULU)))

    def of(scenarios: list[WarningScenario]) -> dict[str, np.ndarray]:
        padded = [*scenarios, *[STRESSED] * (LANES - len(scenarios))]
        batch = jax.tree.map(lambda *values: jnp.asarray(values, float), *padded)
        return {name: np.asarray(margin)[: len(scenarios)] for name, margin in compiled(batch).items()}

    return of


def test_values_by_hand(report: dict[str, risk_warnings.RiskWarning], x64: bool) -> None:
    slack = 1e-9 if x64 else 1e-4
    total, exit_eth, entry_eth = 42_228_608.0, 300_000.0, 2_262_825.0
    wanted = {
        "corrupt_finality": (0.01, 1 / 3),
        "client_fork_choice": (0.45, 0.5),
        "operator_finalises": (0.2487 * (1 - 0.0483), 2 / 3),
        "exit_queue": ((exit_eth / 256 + 5) / 225, 14.0),
        "entry_queue": ((entry_eth / 256 + 4 + 5) / 225, 30.0),
        "pool_share": (9 / 13, 0.7),
        "volatility": (0.0363 * math.sqrt(365), 1.0),
        "economic_security": (
            2_971.64 * total / 3 * (0.9 + 0.0363 * math.sqrt(total / 3 / 5e6)) / 0.9e9,
            10.0,
        ),
    }
    for name, (value, threshold) in wanted.items():
        assert report[name].value == pytest.approx(value, rel=slack), name
        assert report[name].threshold == pytest.approx(threshold, rel=slack), name
        sign = 1 if report[name].safe == "above" else -1
        assert report[name].margin == pytest.approx(sign * (value - threshold), rel=20 * slack, abs=slack), name
        assert report[name].relative == pytest.approx(report[name].margin / threshold, rel=slack), name


def test_values_of_the_market_and_of_operators(report: dict[str, risk_warnings.RiskWarning], x64: bool) -> None:
    slack = 1e-8 if x64 else 2e-3
    pool = STRESSED.market.pool
    price = float(pools.spot_price(pool))
    assert report["depeg"].value == pytest.approx(1 - price, rel=slack)
    after = float(pools.spot_price(pools.after_swap(pool, amount_in=120_000.0)))
    assert report["withdrawal_impact"].value == pytest.approx(1 - after / price, rel=slack)
    assert report["depeg_depth"].threshold == pytest.approx(120_000, rel=slack)
    rows, counts = risk_scenario.stakes(STRESSED.operators)
    for what, theta in (("finality", 1 / 3), ("fork_choice", 1 / 2)):
        found = concentration.nakamoto_interpolated(rows, counts, theta=theta)
        assert report[f"nakamoto_{what}"].value == pytest.approx(float(found), rel=slack)
    level = assessment.assess(STRESSED.security, stakes=rows, counts=counts).level
    assert report["security_level"].value == pytest.approx(float(level), rel=slack)


def test_modelled_operators_match_the_real_owners(shared: Any) -> None:
    """Entropy, Herfindahl index and the Nakamoto coefficient of a third; that of a half is 9 and not 13."""
    rows, counts = risk_scenario.stakes(ModelledOperators())
    assert float(jnp.sum(rows)) == pytest.approx(1, rel=1e-5)
    stake: list[float] = []
    owners: list[float] = []
    for name in ("stake_by_owner_2025-10-21.csv", "stake_by_owner_tail_2025-10-21.csv"):
        with (shared / "data" / name).open() as file:
            for line in csv.DictReader(file):
                stake.append(float(line["effective_balance_eth"]))
                owners.append(float(line.get("owners") or 1))
    real_rows, real_counts = risk_scenario.stakes(list_operators(stake, owners))
    for measure, slack in ((concentration.entropy_nats, 0.003), (concentration.herfindahl, 0.02)):
        assert float(measure(rows, counts)) == pytest.approx(float(measure(real_rows, real_counts)), rel=slack)
    assert [float(concentration.nakamoto(rows, counts, theta=t)) for t in (1 / 3, 1 / 2)] == [3, 9]
    assert [float(concentration.nakamoto(real_rows, real_counts, theta=t)) for t in (1 / 3, 1 / 2)] == [3, 13]


def test_another_fork_has_another_queue(x64: bool) -> None:
    value, _ = risk_quantities._waits(STRESSED, forks.get("gloas"))["exit_queue"]
    wanted = (300_000 / (42_228_608 / 32_768) + 5) / 225
    assert float(value) == pytest.approx(wanted, rel=1e-9 if x64 else 1e-5)


def test_selling_to_a_price(x64: bool) -> None:
    """The pool after that sale has that price; below the price of now it is negative."""
    slack = 1e-9 if x64 else 1e-3
    pool = pools.StableSwap(reserve_x=900.0, reserve_y=400.0, amplification=50.0)
    after = jax.jit(lambda x: pools.spot_price(pools.after_swap(pool, amount_in=x)))
    for price in (0.97, 0.9, 0.5):
        amount = risk_warnings.selling_to_price(pool, price=price)
        assert float(pools.spot_price(pools.after_swap(pool, amount_in=amount))) == pytest.approx(price, rel=slack)
        root = optimize.brentq(lambda x, p=price: float(after(x)) - p, 0.0, 1e4, xtol=1e-9)
        assert float(amount) == pytest.approx(root, rel=10 * slack)
    assert float(risk_warnings.selling_to_price(pool, price=pools.spot_price(pool))) == pytest.approx(0, abs=2e-2)
    assert float(risk_warnings.selling_to_price(pool, price=0.99)) < 0
    with pytest.raises(ValueError, match=r"price must be greater than 0 and finite, got 0\.0"):
        risk_warnings.selling_to_price(pool, price=0.0)


def test_depth_and_discount_turn_critical_together(margins_of: Any) -> None:
    """The queue sells nothing, so that the margin of the depth is the depth."""
    reserves = (600_000.0, 700_000.0, 800_000.0, 900_000.0)
    found = margins_of(
        [leaves.replace(STRESSED, {"market.pool.reserve_x": x, "market.sold_share": 0.0}) for x in reserves]
    )
    assert {bool(safe) for safe in found["depeg"] > 0} == {True, False}
    np.testing.assert_array_equal(found["depeg"] > 0, found["depeg_depth"] > 0)


def test_states() -> None:
    for margin, wanted in ((-1.0, "breached"), (0.0, "breached"), (0.5, "near"), (2.0, "safe")):
        assert risk_warnings.state(margin=margin, threshold=5.0, near=0.2) == wanted
    assert risk_warnings.state(margin=0.5, threshold=5.0, near=0.0) == "safe"
    assert risk_warnings.state(margin=1.0, threshold=0.0) == "safe"
    with pytest.raises(ValueError, match=r"near must be at least 0 and finite, got -0\.1"):
        risk_warnings.state(margin=1.0, threshold=1.0, near=-0.1)
    with pytest.raises(ValueError, match="margin must be a number, got nan"):
        risk_warnings.state(margin=math.nan, threshold=1.0)


def test_report(report: dict[str, risk_warnings.RiskWarning]) -> None:
    assert list(report) == list(risk_warnings.RULES)
    states = {name: warning.state for name, warning in report.items()}
    assert states["client_finality"] == states["entry_queue"] == states["depeg"] == "breached"
    assert states["client_fork_choice"] == states["pool_share"] == "near"
    assert states["corrupt_finality"] == states["exit_queue"] == "safe"
    assert report["nakamoto_finality"].levers[0].name == "operators.largest"
    assert report["exit_queue"].levers[0].name == "queues.exit_eth"
    assert report["client_finality"].levers[0].name == "client_share"
    for warning in report.values():
        steps = [lever.name.startswith("thresholds.") for lever in warning.levers]
        assert steps == sorted(steps), "thresholds come last"
        moved = [abs(lever.change_per_percent) for lever, step in zip(warning.levers, steps, strict=True) if not step]
        assert moved == sorted(moved, reverse=True)
        for lever in warning.levers:
            assert lever.change_per_percent == pytest.approx(0.01 * lever.value * lever.gradient, rel=1e-6)
            wanted = lever.value * lever.gradient / warning.margin
            assert lever.elasticity == pytest.approx(wanted, rel=1e-5, abs=1e-12)


@pytest.mark.usefixtures("only_x64")
def test_gradients_against_finite_differences(report: dict[str, risk_warnings.RiskWarning], margins_of: Any) -> None:
    """Every margin in every number of the scenario; a lever that is not listed moves nothing."""
    numbers = {name: float(value) for name, value in leaves.as_dict(STRESSED).items()}
    steps = {name: 1e-5 * (abs(value) or 1.0) for name, value in numbers.items()}
    ends = [
        leaves.replace(STRESSED, {name: value + sign * steps[name]})
        for name, value in numbers.items()
        for sign in (1, -1)
    ]
    margins = margins_of(ends)
    for warning in report.values():
        listed = {lever.name: lever.gradient for lever in warning.levers}
        above, below = margins[warning.name][0::2], margins[warning.name][1::2]
        for name, high, low in zip(numbers, above, below, strict=True):
            scale = max(abs(warning.value), abs(warning.threshold)) / (abs(numbers[name]) or 1.0)
            wanted = (high - low) / (2 * steps[name])
            assert listed.get(name, 0.0) == pytest.approx(wanted, rel=2e-5, abs=1e-8 * scale), (warning.name, name)


def test_modes_and_bad_lanes(report: dict[str, risk_warnings.RiskWarning], margins_of: Any, x64: bool) -> None:
    """Eager, compiled and batched margins agree; a lane with a bad leaf is NaN throughout."""
    slack = 1e-8 if x64 else 2e-3
    eager = risk_warnings.margins(STRESSED, fork=FULU)
    fewer, bad = {"queues.exit_eth": 1e5}, {"thresholds.impact": -0.05}
    lanes = margins_of([STRESSED, leaves.replace(STRESSED, fewer), leaves.replace(STRESSED, bad)])
    for name, lane in lanes.items():
        close = {"rel": slack, "abs": slack * max(abs(report[name].value), abs(report[name].threshold))}
        assert float(eager[name]) == pytest.approx(report[name].margin, **close), name
        assert float(lane[0]) == pytest.approx(report[name].margin, **close), name
        assert np.isfinite(lane[1]), name
        assert np.isnan(lane[2]), name
    assert float(lanes["exit_queue"][1]) > float(lanes["exit_queue"][0])


def test_unit_and_order_of_listed_operators_do_not_matter() -> None:
    stakes, counts = [3.0, 40.0, 7.0, 90.0, 12.0], [1.0, 1.0, 1.0, 30.0, 1.0]
    found = list_operators(stakes, counts)
    other = list_operators([100 * stake for stake in stakes[::-1]], counts[::-1])
    assert (found.largest, found.second, found.third) == (40, 12, 7)
    for measure in (concentration.entropy_nats, concentration.nakamoto_interpolated):
        values = [float(measure(*risk_scenario.stakes(operators))) for operators in (found, other)]
        assert values[0] == pytest.approx(values[1], rel=1e-5)
        assert values[0] == pytest.approx(float(measure(jnp.asarray(stakes), jnp.asarray(counts))), rel=1e-5)


def test_few_operators() -> None:
    """One operator holds everything: the margin of a third is gone, and it stops finality by itself."""
    found = list_operators([32.0])
    assert (found.second, found.third, found.others.shape) == (0, 0, (0,))
    scenario = dataclasses.replace(WarningScenario(), operators=found)
    pairs = risk_quantities._consensus(scenario, FULU)
    assert float(pairs["operator_finality"][0]) == 1
    assert float(pairs["nakamoto_finality"][0]) == pytest.approx(1 / 3, rel=1e-5)
    equal = dataclasses.replace(WarningScenario(), operators=list_operators([1.0] * 9))
    pairs = risk_quantities._consensus(equal, FULU)
    assert float(pairs["operator_finality"][0]) == pytest.approx(1 / 9, rel=1e-5)
    assert float(pairs["nakamoto_finality"][0]) == pytest.approx(3, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("market.pool.reserve_x", 0.0, "market.pool.reserve_x must be greater than 0 and finite, got 0.0"),
        ("queues.exit_eth", -1.0, "queues.exit_eth must be at least 0 and finite, got -1.0"),
        ("thresholds.exit_days", -3.0, "thresholds.exit_days must be greater than 0 and finite, got -3.0"),
        ("thresholds.discount", 0.0, "thresholds.discount must be in (0, 1], got 0.0"),
        ("corrupt_share", 1.5, "corrupt_share must be in [0, 1], got 1.5"),
        ("operators.largest", 0.9, "operators.largest, second and third must add up to at most 1, got 1.08"),
        ("security.price_usd", math.nan, "security.price_usd must be greater than 0 and finite, got nan"),
    ],
)
def test_bad_scenarios(name: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        risk_warnings.warn(leaves.replace(WarningScenario(), {name: value}), fork=FULU)
    assert name.split(".")[0] in str(error.value)


def test_bad_operators() -> None:
    cases: list[tuple[Any, Any, str]] = [
        ([], None, "stakes must be a vector [O] of at least one row, got shape (0,)"),
        ([[1.0]], None, "stakes must be a vector [O] of at least one row, got shape (1, 1)"),
        ([1.0, -2.0], None, "stakes must be at least 0 and finite, got -2.0"),
        ([0.0, 0.0], None, "stakes must have a positive sum, got 0.0"),
        ([1.0, 2.0], [1.0], "counts must have the shape of stakes (2,), got shape (1,)"),
        ([1.0, 2.0], [1.0, 0.0], "counts must be greater than 0 and finite, got 0.0"),
    ]
    for rows, counts, message in cases:
        with pytest.raises(ValueError, match=re.escape(message)):
            list_operators(rows, counts)
    with pytest.raises(ValueError, match=r"operators\.tail must be at least 1, got 0"):
        risk_scenario.stakes(ModelledOperators(tail=0))
    with pytest.raises(TypeError, match="operators must be ModelledOperators or ListedOperators, got str") as error:
        risk_scenario.stakes("all")
    assert "str" in str(error.value)
    assert isinstance(list_operators([1.0]), ListedOperators)


def test_every_default_has_an_origin() -> None:
    covered = [prefix.split(",")[0] for prefix in risk_scenario.ORIGINS if prefix != "all others"]
    known = leaves.names(WarningScenario())
    for prefix in covered:
        assert any(name.startswith(prefix) for name in known), prefix
