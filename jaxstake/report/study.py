"""Everything the report computes, apart from how it is shown."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from jaxstake.analysis import sensitivity
from jaxstake.analysis.sweep import sweep
from jaxstake.core import leaves
from jaxstake.data import mainnet
from jaxstake.data.mainnet import Snapshot
from jaxstake.data.payments import Payments
from jaxstake.data.reported import Comparison, comparison
from jaxstake.economy import block_value
from jaxstake.economy.apr import Apr, apr
from jaxstake.economy.block_value import LogNormalFit
from jaxstake.economy.scenario import Scenario
from jaxstake.protocol import queues
from jaxstake.protocol.queues import Wait
from jaxstake.report import design, summary

if TYPE_CHECKING:
    import xarray

Report = Callable[[int, int], None]

OUTPUTS = ("net", "gross", "consensus", "execution")
CURVE_POINTS = 61
VALUE_POINTS = 41
STEPS = (
    ("network.total_stake_eth", "total stake +10 %", lambda base: 0.1 * base),
    ("validator.uptime", "uptime −1 point", lambda base: -0.01),
    ("network.participation", "participation −1 point", lambda base: -0.01),
    ("block_value.log_mean", "median block value +50 %", lambda base: float(np.log(1.5))),
    ("costs.commission", "commission +5 points", lambda base: 0.05),
)
"""Moves whose first- and second-order effects the report compares: leaf, words, step."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moves:
    """What a first- and a second-order expansion say of a joint move, beside the model itself.

    `second[i][j]` is the effect that moves i and j have together beyond the sum of each (i != j), or that the slope
    alone misses (i = j), as fractions per year.
    """

    labels: list[str]
    first: np.ndarray
    second: np.ndarray
    exact: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockValueStudy:
    """A fit to payments, and the APR that it implies for this scenario."""

    source: str
    payments: Payments
    fit: LogNormalFit
    net_with_fit: float
    net_with_sample_mean: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """Results of the report for one scenario. Rates are fractions per year, waits days, amounts ETH."""

    scenario: Scenario
    day: Snapshot
    changed: dict[str, tuple[float | None, float]]
    rate: Apr
    compared: Comparison
    slopes: xarray.Dataset
    tornado: xarray.Dataset
    curve: xarray.Dataset
    swept: xarray.Dataset
    requested_lanes: int
    sweep_seconds: float
    summary: dict[str, dict[str, float]]
    drivers: list[float]
    moves: Moves
    entry: Wait
    leaving: Wait | None
    fitted: BlockValueStudy | None


def run(
    scenario: Scenario, day: Snapshot, *, lanes: int, payments: tuple[str, Payments] | None, report: Report | None
) -> Study:
    """Compute everything.

    Args:
        scenario: what the report is about.
        day: the snapshot whose reported APR it is held against.
        lanes: scenarios wanted in the sweep, at least 1.
        payments: name and content of a file of block payments, or None.
        report: called with (scenarios done, in all) during the sweep.

    Raises:
        ValueError: the scenario is out of range, lanes is not positive, or the payments cannot be fitted.
    """
    start = time.perf_counter()
    axes = design.grid(scenario, lanes)
    swept = sweep(apr, scenario, axes, outputs=OUTPUTS, dtype="float32", progress=report)
    seconds = time.perf_counter() - start
    return Study(
        scenario=scenario,
        day=day,
        changed=_changed(scenario, mainnet.scenario(day)),
        rate=Apr(**{name: float(value) for name, value in vars(apr(scenario)).items()}),
        compared=comparison(day),
        slopes=sensitivity.table(apr, scenario, output="net"),
        tornado=sensitivity.tornado(apr, scenario, design.ranges(scenario), output="net"),
        curve=_curve(scenario),
        swept=swept,
        requested_lanes=lanes,
        sweep_seconds=seconds,
        summary=summary.describe(swept),
        drivers=design.shares_of_variance(swept["net"].values),
        moves=_moves(scenario),
        entry=_entry(scenario),
        leaving=_leaving(scenario),
        fitted=None if payments is None else _fitted(scenario, *payments),
    )


def _changed(scenario: Scenario, original: Scenario) -> dict[str, tuple[float | None, float]]:
    """Leaves that differ from the snapshot's: what they were (None if absent) and what they are."""
    before = leaves.as_dict(original)
    now = leaves.as_dict(scenario)
    return {
        name: (None if name not in before else float(before[name]), float(value))
        for name, value in now.items()
        if name not in before or float(before[name]) != float(value)
    }


def with_perfect_duties(scenario: Scenario) -> dict[str, Apr]:
    """The APR of a scenario, and with every duty of every validator fulfilled."""
    perfect = {"network.participation": 1.0, "network.block_rate": 1.0, "validator.uptime": 1.0}
    return {"here": apr(scenario), "perfect": apr(leaves.replace(scenario, perfect))}


def joint_leaf(scenario: Scenario) -> str:
    """The leaf that the heat map moves beside the stake."""
    median = "block_value.log_mean"
    return median if median in leaves.names(scenario) else "validator.uptime"


def _curve(scenario: Scenario) -> xarray.Dataset:
    """APR over stake and the joint leaf; the middle point of each axis is the scenario's own value."""
    stake, other = float(scenario.network.total_stake_eth), joint_leaf(scenario)
    at = float(leaves.get(scenario, other))
    values = np.linspace(0.9, 1.0, VALUE_POINTS)
    if other != "validator.uptime":
        values = at + np.linspace(-np.log(4.0), np.log(4.0), VALUE_POINTS)
    axes = {"network.total_stake_eth": stake * np.geomspace(0.4, 2.5, CURVE_POINTS), other: values}
    outputs = ["here.net", "here.consensus", "perfect.consensus"]
    return sweep(with_perfect_duties, scenario, axes, outputs=outputs)


def _moves(scenario: Scenario) -> Moves:
    """Taylor terms of a joint move, and the move itself."""
    known = leaves.names(scenario)
    steps = {name: (label, step(float(leaves.get(scenario, name)))) for name, label, step in STEPS if name in known}
    size = np.array([step for _, step in steps.values()])
    table = sensitivity.table(apr, scenario, names=list(steps), output="net")
    second = sensitivity.hessian_table(apr, scenario, list(steps), output="net").values
    moved = {name: float(leaves.get(scenario, name)) + step for name, (_, step) in steps.items()}
    joint = second * np.outer(size, size)
    return Moves(
        labels=[label for label, _ in steps.values()],
        first=table["gradient"].values * size,
        second=np.where(np.eye(len(size), dtype=bool), 0.5 * joint, joint),
        exact=float(apr(leaves.replace(scenario, moved)).net) - float(apr(scenario).net),
    )


def _entry(scenario: Scenario) -> Wait:
    network = scenario.network
    return queues.entry_wait(scenario.fork, queue_eth=network.entry_queue_eth, total_stake_eth=network.total_stake_eth)


def _leaving(scenario: Scenario) -> Wait | None:
    """The exit wait; None at forks without withdrawals."""
    if scenario.fork.max_withdrawals_per_payload is None:
        return None
    network = scenario.network
    return queues.exit_wait(
        scenario.fork,
        queue_eth=network.exit_queue_eth,
        total_stake_eth=network.total_stake_eth,
        validators=network.active_validators,
        block_rate=network.block_rate,
    )


def _fitted(scenario: Scenario, source: str, payments: Payments) -> BlockValueStudy:
    if payments.paid < 2:
        raise ValueError(f"{source} has {payments.paid} payments above 0, at least 2 are needed for a fit")
    fit = block_value.fit_log_normal(jnp.asarray(payments.payment_eth))
    mean = float(block_value.mean(scenario.block_value))
    rate = apr(scenario)
    per_eth = float(rate.mev) / mean * (1.0 - float(scenario.costs.commission))
    paid_share = payments.paid / (payments.paid + payments.zero)

    def net(other_mean: float) -> float:
        return float(rate.net) + per_eth * (other_mean * paid_share - mean)

    return BlockValueStudy(
        source=source,
        payments=payments,
        fit=fit,
        net_with_fit=net(float(block_value.mean(fit.distribution))),
        net_with_sample_mean=net(float(fit.sample_mean)),
    )


def headline(study: Study) -> Mapping[str, Any]:
    """The numbers of the report that matter most, by name."""
    fitted = study.fitted
    return {
        "date": study.day.date.isoformat(),
        "total_stake_eth": float(study.scenario.network.total_stake_eth),
        "net": study.rate.net,
        "consensus": study.rate.consensus,
        "execution": study.rate.execution,
        "snapshot_computed": study.compared.computed,
        "snapshot_reported": study.compared.reported,
        "difference": study.compared.difference,
        "entry_wait_days": float(study.entry.total),
        "exit_wait_days": None if study.leaving is None else float(study.leaving.total),
        "lanes": int(study.swept.attrs["lanes"]),
        "invalid_lanes": int(study.swept.attrs["invalid_lanes"]),
        "net_p5": study.summary["net"]["p5"],
        "net_p50": study.summary["net"]["p50"],
        "net_p95": study.summary["net"]["p95"],
        "net_with_fitted_block_value": None if fitted is None else fitted.net_with_fit,
    }
