"""The scenario: its names, the sources of its defaults, and the rules it is checked against."""

from __future__ import annotations

import csv
import datetime
import math
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.core import leaves
from jaxstake.economy import block_value
from jaxstake.economy.scenario import Scenario, validate
from jaxstake.protocol import forks

MANDATED = (
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


@pytest.mark.parametrize("name", MANDATED)
def test_leaf_by_name(name: str) -> None:
    changed = leaves.replace(Scenario(), {name: 0.5})
    assert leaves.get(changed, name) == 0.5
    assert [other for other, value in leaves.as_dict(changed).items() if value != leaves.get(Scenario(), other)] == [
        name
    ]


def test_every_economic_leaf_has_unit_domain_and_meaning() -> None:
    scenario = Scenario()
    economic = [name for name in leaves.names(scenario) if not name.startswith("fork.")]
    for name in economic:
        assert leaves.units(scenario)[name]
        assert name in leaves.domains(scenario)
        assert leaves.meanings(scenario)[name]
        assert isinstance(leaves.get(scenario, name), float)


def test_defaults_are_valid_and_of_the_newest_fork_on_mainnet() -> None:
    assert validate(Scenario()) is True
    assert leaves.as_dict(Scenario().fork) == leaves.as_dict(forks.get("fulu"))


def test_block_value_default_has_the_published_median(published: dict[str, Any], tolerance: float) -> None:
    entry = published["mev_dist_2026"]["value"]
    value = Scenario().block_value
    assert float(block_value.quantile(value, level=0.5)) == pytest.approx(entry["p50"], rel=10 * tolerance)
    assert float(block_value.mean(value)) == pytest.approx(0.015, rel=10 * tolerance)


def test_participation_default_is_the_median_of_the_daily_series(shared: Path) -> None:
    with (shared / "data" / "network_daily.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["date"] < "2025-05-07"]
    rates = [float(row["staked_eth"]) / (32 * float(row["active_validators"])) for row in rows]
    assert Scenario().network.participation == pytest.approx(np.median(rates), abs=1e-4)
    assert Scenario().validator.uptime == Scenario().network.participation


def test_block_rate_default_is_near_that_of_the_sampled_slots(shared: Path) -> None:
    with (shared / "data" / "mev_blocks_sample.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    blocks, slots = (int(rows[-1][name]) - int(rows[0][name]) for name in ("block_number", "slot"))
    # The sample ends in 2024-02, the blocks behind the default in 2024-04: 0.91 and 0.94 % of slots without a block.
    assert Scenario().network.block_rate == pytest.approx(blocks / slots, abs=4e-4)


def test_hazard_defaults_follow_from_the_slashing_series(shared: Path) -> None:
    with (shared / "data" / "slashing_events.csv").open(newline="") as file:
        newest_event = list(csv.DictReader(file))[-1]
    assert Scenario().hazards.other_slashed_stake_eth == 32 * float(newest_event["validators_slashed"])
    with (shared / "data" / "slashing_cumulative.csv").open(newline="") as file:
        (before, low), (after, high) = [
            (datetime.date.fromisoformat(row["date"]), float(row["cumulative_slashed_validators"]))
            for row in csv.DictReader(file)
        ][-2:]
    per_year = (high - low) / ((after - before).days / 365.25)
    assert Scenario().hazards.slashing_probability == pytest.approx(per_year / 1.06e6, rel=0.02)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"network.participation": 2.0}, "network.participation must be in [0, 1], got 2.0"),
        ({"network.active_validators": 0.0}, "network.active_validators must be greater than 0 and finite, got 0.0"),
        ({"network.entry_queue_eth": -1.0}, "network.entry_queue_eth must be at least 0 and finite, got -1.0"),
        ({"fork.base_reward_factor": -1.0}, "fork.base_reward_factor must be at least 0 and finite, got -1.0"),
        ({"block_value.log_mean": math.nan}, "block_value.log_mean must be finite, got nan"),
        (
            {"network.total_stake_eth": 31.0},
            "network.total_stake_eth must be at least validator.effective_balance_eth = 32.0, got 31.0",
        ),
        (
            {"validator.effective_balance_eth": 4096.0},
            "validator.effective_balance_eth must be at most 2048.0, the largest at this fork, got 4096.0",
        ),
    ],
)
def test_validate_names_leaf_rule_and_value(values: dict[str, float], message: str) -> None:
    scenario = leaves.replace(Scenario(), values)
    with pytest.raises(ValueError, match=re.escape(message)):
        validate(scenario)
    traced = jax.tree.map(lambda x: jnp.asarray(x, float), scenario)
    assert not jax.jit(validate)(traced)


def test_the_largest_balance_is_itself_a_leaf() -> None:
    larger = {"validator.effective_balance_eth": 4096.0, "fork.max_effective_balance_gwei": 4096e9}
    assert validate(leaves.replace(Scenario(), larger)) is True
