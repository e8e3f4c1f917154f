"""Figures and numbers of a simulation, from records written by hand."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from jaxstake.beacon.records import LEVELS, Record, Tally
from jaxstake.cli import simulate
from jaxstake.report import simulation_figures, simulation_table

DAYS = np.array([1.0, 2.0, 3.0])


def records(**changes):
    """Three windows of a day each; two traced validators."""
    zero = np.zeros(3, np.int64)
    tally = {field.name: zero for field in dataclasses.fields(Tally)}
    tally |= {"epochs": zero + 225, "blocks": zero + 7000, "target_share": zero + 200.0, "block_value_eth": zero + 1.0}
    tally |= {"attestation_rewards": np.array([5, 6, 7]) * 10**9}
    own = {field.name: zero for field in dataclasses.fields(Record)}
    spread = np.linspace(0.0, 1.0, len(LEVELS))[None, :] * DAYS[:, None]
    own |= {"epoch": 2048 + 225 * np.arange(1, 4), "income_eth": spread, "consensus_income_eth": spread}
    own["finalized_epoch"] = own["epoch"] - 2
    own["traced"] = {
        "balance": np.array([[32, 64]] * 3) * 10**9,
        "effective_balance": np.array([[32, 64]] * 3) * 10**9,
        "inactivity_score": np.array([[0, 1]] * 3),
        "consensus_income_eth": np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]),
        "execution_income_eth": np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 2.0]]),
    }
    return Record(**(own | {"tally": Tally(**(tally | changes))}))


def test_traced_validators_are_lines_of_their_incomes():
    (axes,) = simulation_figures.income_quantiles(DAYS, records(), rows=(7, 20_000)).axes
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_allclose(lines["validator 7"], [0.1, 0.3, 0.5])
    np.testing.assert_allclose(lines["validator 20,000"], [1.2, 1.4, 2.6])
    (axes,) = simulation_figures.income_quantiles(DAYS, records()).axes
    assert not any("validator " in str(line.get_label()) for line in axes.lines)


def test_traced_validators_are_in_the_dataset():
    found = records()
    table = simulation_table.columns(found, epochs_per_day=225.0)
    dataset = simulation_table.to_dataset(table, attributes={}, traced=found.traced, rows=(7, 20_000))
    assert float(dataset["traced_execution_income_eth"].sel(validator=20_000, day=3.0)) == 2.0
    assert "validator" not in simulation_table.to_dataset(table, attributes={}).dims


@pytest.mark.parametrize(("burnt_eth", "leak", "pace"), [(0, 0, "219.150 %"), (8, 0, "121.750 %"), (300, 500, None)])
def test_returns_and_their_pace(burnt_eth, leak, pace):
    """18 ETH issued on 1,000 ETH in three days; a leak is not drawn out to a year."""
    found = records(attestation_penalties=np.array([burnt_eth * 10**9, 0, 0]), leak_epochs=np.array([leak, 0, 0]))
    simulation = SimpleNamespace(at_start=np.full(10, 100 * 10**9), state=SimpleNamespace(overflowed=False))
    numbers = simulation_table.summary(simulation, found, epochs_per_day=225.0, slots_per_epoch=32)
    assert numbers["consensus_return"] == pytest.approx((18 - burnt_eth) / 1000)
    assert numbers["consensus_rate_per_year"] == pytest.approx((18 - burnt_eth) / 1000 * 365.25 / 3)
    assert numbers["execution_return"] == pytest.approx(3 / 1000)
    assert dict(simulate._rows(numbers)).get("consensus return a year at that pace") == pace
