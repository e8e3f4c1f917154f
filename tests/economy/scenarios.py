"""Scenarios for the tests of the economy: a busy one, many random ones, and how results are compared."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.core import leaves
from jaxstake.economy.apr import Apr
from jaxstake.economy.scenario import Scenario
from jaxstake.protocol import forks

EARNED = ("source", "target", "head", "sync", "proposer", "mev", "tips")
LOST = ("missed", "slashing", "leak", "costs", "commission")
SUMS = ("consensus", "execution", "gross", "net")
ECONOMIC = [name for name in leaves.names(Scenario()) if not name.startswith("fork.")]
SWEPT_NAMES = (
    "network.total_stake_eth",
    "network.participation",
    "network.block_rate",
    "validator.effective_balance_eth",
    "validator.uptime",
    "block_value.log_mean",
    "block_value.log_std",
    "hazards.slashing_probability",
    "costs.commission",
)
# Far from every kink and from zero, so that each leaf matters.
BUSY = {
    "network.participation": 0.95,
    "network.block_rate": 0.97,
    "network.exit_queue_eth": 3e6,
    "network.tips_per_block_eth": 0.003,
    "validator.uptime": 0.93,
    "hazards.slashing_probability": 0.01,
    "hazards.other_slashed_stake_eth": 1e6,
    "hazards.leak_probability": 0.02,
    "hazards.leak_offline_probability": 0.4,
    "costs.commission": 0.1,
    "costs.annual_cost_eth": 0.05,
}


def with_values(values: dict[str, Any], *, fork: str = "fulu") -> Scenario:
    return leaves.replace(Scenario(fork=forks.get(fork)), values)


def random_lanes(rng: np.random.Generator, count: int, *, largest_eth: float = 2_048.0) -> dict[str, np.ndarray]:
    """Every economic leaf of many scenarios, the corners of the domains among them."""
    log_uniform = lambda low, high: np.exp(rng.uniform(math.log(low), math.log(high), count))  # noqa: E731
    with_zeros = lambda values: np.where(rng.random(count) < 0.2, 0.0, values)  # noqa: E731
    with_ones = lambda values: np.where(rng.random(count) < 0.2, 1.0, values)  # noqa: E731
    share = lambda: with_ones(with_zeros(rng.random(count)))  # noqa: E731
    return {
        "network.total_stake_eth": log_uniform(3e3, 1.2e8),
        "network.participation": share(),
        "network.block_rate": with_ones(rng.uniform(0.01, 1.0, count)),
        "network.active_validators": log_uniform(1e2, 1e6),
        "network.entry_queue_eth": log_uniform(1.0, 1e7),
        "network.exit_queue_eth": with_zeros(log_uniform(1e2, 1e7)),
        "network.tips_per_block_eth": with_zeros(log_uniform(1e-4, 1.0)),
        "validator.effective_balance_eth": log_uniform(1.0, largest_eth),
        "validator.uptime": share(),
        "block_value.log_mean": rng.uniform(-6.0, 0.0, count),
        "block_value.log_std": with_zeros(rng.uniform(0.0, 2.0, count)),
        "hazards.slashing_probability": share(),
        "hazards.other_slashed_stake_eth": with_zeros(log_uniform(1.0, 2e8)),
        "hazards.leak_probability": share(),
        "hazards.leak_epochs": with_zeros(log_uniform(1.0, 3e4)),
        "hazards.leak_offline_probability": share(),
        "costs.commission": share(),
        "costs.annual_cost_eth": with_zeros(log_uniform(1e-3, 10.0)),
    }


def in_working_precision(lanes: dict[str, np.ndarray]) -> tuple[dict[str, jax.Array], dict[str, np.ndarray]]:
    """The lanes as the model sees them, and the same numbers in double precision for the oracle."""
    arrays = {name: jnp.asarray(values, float) for name, values in lanes.items()}
    return arrays, {name: np.asarray(values, np.float64) for name, values in arrays.items()}


def components(result: Apr) -> dict[str, Any]:
    return {field.name: getattr(result, field.name) for field in dataclasses.fields(Apr)}


def assert_close(found: dict[str, Any], wanted: dict[str, Any], tolerance: float) -> None:
    """Parts relative to themselves; what is a difference of parts, relative to those."""
    size = sum(np.abs(wanted[name]) for name in (*EARNED, *LOST))
    for name, value in wanted.items():
        scale = np.abs(value) if name in (*EARNED, "missed", "slashing", "costs") else size
        assert np.all(np.abs(np.asarray(found[name], np.float64) - value) <= tolerance * scale), name
