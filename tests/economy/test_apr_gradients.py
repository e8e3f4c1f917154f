"""Derivatives of the APR in every leaf, at kinks and edges too, and what becomes of values out of range."""

from __future__ import annotations

import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxstake.core import leaves
from jaxstake.economy.apr import apr
from jaxstake.economy.scenario import Scenario
from tests.economy.scenarios import BUSY, ECONOMIC, SWEPT_NAMES, components, with_values

BUSY_LEAVES = leaves.as_dict(with_values(BUSY))
CONSTANTS = (
    "base_reward_factor",
    "inactivity_penalty_quotient",
    "min_slashing_penalty_quotient",
    "proportional_slashing_multiplier",
    "proposer_weight",
    "slot_duration_ms",
    "slots_per_epoch",
    "sync_reward_weight",
    "timely_head_weight",
    "timely_source_weight",
    "timely_target_weight",
    "weight_denominator",
)
NAMES = [*ECONOMIC, *(f"fork.{name}" for name in CONSTANTS)]
"""The leaves on which an APR depends most; the fork holds more, and each traced one costs time to compile."""
UNUSED = {"network.active_validators", "network.entry_queue_eth"}


def net_of_changes(changes: Any, names: list[str]) -> Any:
    """Net APR in percent when every named leaf is multiplied by 1 plus a change [n]; numbers are of order one."""
    values = {name: BUSY_LEAVES[name] * (1.0 + changes[i]) for i, name in enumerate(names)}
    return 100.0 * apr(with_values(values)).net


def test_gradient_in_every_leaf_fork_constants_included(only_x64: None) -> None:
    names = [name for name, value in BUSY_LEAVES.items() if value != 0]
    function = jax.jit(lambda changes: net_of_changes(changes, names))
    check_grads(function, (jnp.zeros(len(names)),), order=1, modes=("fwd", "rev"), atol=1e-5, rtol=1e-5)


def test_each_derivative_equals_a_central_difference(only_x64: None) -> None:
    function = lambda changes: net_of_changes(changes, NAMES)  # noqa: E731
    gradient = jax.jit(jax.grad(function))(jnp.zeros(len(NAMES)))
    step = 1e-5 * jnp.eye(len(NAMES))
    down, up = jax.jit(jax.vmap(function))(jnp.concatenate([-step, step])).reshape(2, -1)
    np.testing.assert_allclose(gradient, (up - down) / 2e-5, rtol=1e-6, atol=1e-9)
    assert {name for name, slope in zip(NAMES, gradient, strict=True) if slope == 0} == UNUSED


def test_hessian_is_symmetric_and_equals_differences_of_the_gradient(only_x64: None) -> None:
    gradient = jax.grad(lambda changes: net_of_changes(changes, ECONOMIC))
    hessian = np.asarray(jax.jit(jax.jacfwd(gradient))(jnp.zeros(len(ECONOMIC))))
    assert np.all(np.isfinite(hessian))
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-10, atol=1e-13)
    step = 1e-5 * jnp.eye(len(ECONOMIC))
    down, up = jax.jit(jax.vmap(gradient))(jnp.concatenate([-step, step])).reshape(2, len(ECONOMIC), len(ECONOMIC))
    np.testing.assert_allclose(hessian, (up - down) / 2e-5, rtol=1e-6, atol=1e-8)
    stake = ECONOMIC.index("network.total_stake_eth")
    assert hessian[stake, stake] > 0


EDGES = [
    {"validator.uptime": 0.0},
    {"validator.uptime": 1.0},
    {"network.participation": 0.0},
    {"network.participation": 1.0, "network.block_rate": 1.0},
    {"hazards.leak_epochs": 0.0, "hazards.leak_probability": 1.0},
    {"hazards.leak_offline_probability": 0.0, "hazards.leak_probability": 1.0},
    {"costs.commission": 0.0},
    {"costs.commission": 1.0},
    {"hazards.slashing_probability": 0.0, "hazards.other_slashed_stake_eth": 0.0},
    {"hazards.other_slashed_stake_eth": 42_228_608.0 - 32.0},
    {"block_value.log_std": 0.0},
    {"network.exit_queue_eth": 0.0},
    {"network.total_stake_eth": 32.0, "hazards.other_slashed_stake_eth": 0.0},
]


def test_finite_in_value_gradient_and_curvature_at_the_edges() -> None:
    lanes = {name: [edge.get(name, leaves.get(Scenario(), name)) for edge in EDGES] for name in NAMES}
    gradient = jax.value_and_grad(lambda values: apr(with_values(values)).net)

    def value_gradient_and_curvature(values: dict[str, Any]) -> dict[str, Any]:
        (value, slopes), (_, curvature) = jax.jvp(gradient, (values,), (jax.tree.map(jnp.ones_like, values),))
        return {"value": value, "slopes": slopes, "curvature": curvature}

    arrays = {name: jnp.asarray(values, float) for name, values in lanes.items()}
    result = jax.jit(jax.vmap(value_gradient_and_curvature))(arrays)
    for name, values in leaves.as_dict(result).items():
        bad = [EDGES[i] for i in np.flatnonzero(~np.isfinite(np.asarray(values)))]
        assert not bad, (name, bad)


FRACTION = "in [0, 1]"
POSITIVE = "greater than 0 and finite"
BAD = [
    ({"network.total_stake_eth": -1.0}, f"network.total_stake_eth must be {POSITIVE}, got -1.0"),
    ({"network.total_stake_eth": math.nan}, f"network.total_stake_eth must be {POSITIVE}, got nan"),
    ({"network.total_stake_eth": math.inf}, f"network.total_stake_eth must be {POSITIVE}, got inf"),
    ({"network.participation": 1.1}, f"network.participation must be {FRACTION}, got 1.1"),
    ({"network.block_rate": 0.0}, "network.block_rate must be in (0, 1], got 0.0"),
    ({"validator.uptime": 1.2}, f"validator.uptime must be {FRACTION}, got 1.2"),
    ({"validator.uptime": -0.1}, f"validator.uptime must be {FRACTION}, got -0.1"),
    ({"validator.uptime": math.nan}, f"validator.uptime must be {FRACTION}, got nan"),
    ({"validator.effective_balance_eth": 0.0}, f"validator.effective_balance_eth must be {POSITIVE}, got 0.0"),
    (
        {"validator.effective_balance_eth": 2_049.0},
        "validator.effective_balance_eth must be at most 2048.0, the largest at this fork, got 2049.0",
    ),
    (
        {"network.total_stake_eth": 16.0},
        "network.total_stake_eth must be at least validator.effective_balance_eth = 32.0, got 16.0",
    ),
    ({"block_value.log_std": -0.5}, "block_value.log_std must be at least 0 and finite, got -0.5"),
    ({"block_value.log_mean": math.inf}, "block_value.log_mean must be finite, got inf"),
    ({"hazards.slashing_probability": 2.0}, f"hazards.slashing_probability must be {FRACTION}, got 2.0"),
    ({"hazards.leak_epochs": -1.0}, "hazards.leak_epochs must be at least 0 and finite, got -1.0"),
    ({"costs.commission": 1.5}, f"costs.commission must be {FRACTION}, got 1.5"),
    ({"costs.annual_cost_eth": -1.0}, "costs.annual_cost_eth must be at least 0 and finite, got -1.0"),
    ({"fork.slot_duration_ms": 0.0}, f"fork.slot_duration_ms must be {POSITIVE}, got 0.0"),
]


@pytest.mark.parametrize(("values", "message"), BAD, ids=[message for _, message in BAD])
def test_concrete_bad_values_name_leaf_rule_and_value(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        apr(with_values(values))


def test_traced_bad_lanes_are_nan_in_every_component_and_gradient_and_the_others_unharmed() -> None:
    rows: list[dict[str, float]] = [{}, *(values for values, _ in BAD), {}]
    lanes = {name: jnp.asarray([row.get(name, BUSY_LEAVES[name]) for row in rows], float) for name in NAMES}
    function = lambda values: apr(with_values(values))  # noqa: E731
    result = components(jax.jit(jax.vmap(function))(lanes))
    for name, values in result.items():
        assert np.all(np.isnan(values[1:-1])), name
        assert np.isfinite(values[0]), name
        assert values[0] == values[-1], name
    gradient = jax.jit(jax.vmap(jax.grad(lambda values: function(values).net)))(lanes)
    for name in SWEPT_NAMES:
        assert np.all(np.isnan(gradient[name][1:-1])), name
        assert np.isfinite(gradient[name][0]), name
