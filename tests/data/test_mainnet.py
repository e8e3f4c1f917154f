"""The embedded snapshots and block values against the real series, and their APR against the reported one."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.core import leaves
from jaxstake.data import block_values, mainnet, payments, reported
from jaxstake.economy import block_value
from jaxstake.economy.apr import apr
from jaxstake.economy.scenario import Scenario, validate
from jaxstake.protocol import forks
from jaxstake.protocol.queues import activation_churn_limit, entry_wait

GENESIS = datetime.datetime(2020, 12, 1, 12, 0, 23, tzinfo=datetime.UTC)
SNAPSHOTS = mainnet.snapshots()
by_date = pytest.mark.parametrize("day", SNAPSHOTS, ids=[day.date.isoformat() for day in SNAPSHOTS])


@pytest.fixture(scope="module")
def daily(shared: Path) -> dict[str, dict[str, str]]:
    with (shared / "data" / "network_daily.csv").open(newline="") as file:
        return {row["date"]: row for row in csv.DictReader(file)}


def test_newest_equals_the_default_scenario() -> None:
    newest, default = mainnet.scenario(), Scenario()
    assert leaves.as_dict(newest) == leaves.as_dict(default)
    assert newest == default


def test_newest_holds_the_numbers_of_its_day() -> None:
    newest = mainnet.newest()
    assert newest is SNAPSHOTS[-1]
    assert newest.date == datetime.date(2026, 8, 22) == max(day.date for day in SNAPSHOTS)
    assert (newest.active_validators, newest.total_stake_eth, newest.supply_eth) == (901_697, 42_228_608, 121_953_481)
    assert (newest.reported_apr, newest.entry_queue_eth, newest.exit_queue_eth) == (0.0264, 2_262_825, 1_728)


@pytest.mark.parametrize("day", SNAPSHOTS[:-1], ids=[day.date.isoformat() for day in SNAPSHOTS[:-1]])
def test_earlier_snapshots_equal_the_daily_series(day: mainnet.Snapshot, daily: dict[str, dict[str, str]]) -> None:
    row = daily[day.date.isoformat()]
    voted = day.total_stake_eth if day.voted_stake_eth is None else day.voted_stake_eth
    assert float(row["staked_eth"]) == voted
    assert float(row["active_validators"]) == day.active_validators
    assert float(row["supply_eth"]) == day.supply_eth
    assert float(row["apr_pct"]) / 100 == pytest.approx(day.reported_apr, abs=1e-12)
    assert float(row["entry_queue_eth"]) == day.entry_queue_eth
    assert float(row["entry_wait_days"]) == day.entry_wait_days
    assert float(row["exit_queue_eth"]) == day.exit_queue_eth


def test_stake_before_electra_is_32_eth_for_every_validator() -> None:
    day = mainnet.snapshot("2023-12-31")
    assert day.total_stake_eth == 32 * day.active_validators
    assert day.participation == pytest.approx(28_704_479 / (32 * 899_840), rel=1e-15)
    assert mainnet.scenario(day).network.participation == mainnet.scenario(day).validator.uptime == day.participation


def test_stake_of_2025_is_near_the_sum_of_balances(shared: Path) -> None:
    with (shared / "data" / "credential_types_daily.csv").open(newline="") as file:
        balances = {row["date"]: row["balance_eth_total"] for row in csv.DictReader(file)}
    share = mainnet.snapshot("2025-12-31").total_stake_eth / float(balances["2025-12-31"])
    assert share == pytest.approx(0.998, abs=5e-4)


@by_date
def test_fork_is_the_one_active_on_the_day(day: mainnet.Snapshot) -> None:
    noon = datetime.datetime.combine(day.date, datetime.time(12), tzinfo=datetime.UTC)
    assert forks.at_epoch(int((noon - GENESIS).total_seconds() // 384)) == day.fork


@by_date
def test_reported_wait_follows_from_the_queue(day: mainnet.Snapshot) -> None:
    fork = forks.get(day.fork)
    # Before Electra the churn is a whole number of validators.
    churn = float(activation_churn_limit(fork, total_stake_eth=day.total_stake_eth)) // 32 * 32
    assert day.entry_queue_eth / churn / 225 == pytest.approx(day.entry_wait_days, abs=0.006)
    wait = entry_wait(fork, queue_eth=day.entry_queue_eth, total_stake_eth=day.total_stake_eth)
    assert float(wait.queue) == pytest.approx(day.entry_wait_days, rel=0.08)


@by_date
def test_snapshot_is_plausible_and_its_scenario_valid(day: mainnet.Snapshot) -> None:
    assert 0.2 < day.total_stake_eth / day.supply_eth < 0.4
    assert validate(mainnet.scenario(day.date)) is True
    assert mainnet.scenario(day.date) == mainnet.scenario(day.date.isoformat()) == mainnet.scenario(day)
    assert day.block_value in block_values.BLOCK_VALUES


# Widest difference to the reported APR, in percentage points. The first: relay payments contain what builders transfer
# directly, while the reported rate counts priority fees only. The others: a week of heavy-tailed payments.
BANDS = {"2023-12-31": 0.30, "2025-12-31": 0.03, "2026-08-22": 0.03}


@by_date
def test_computed_apr_is_within_its_band_of_the_reported(day: mainnet.Snapshot) -> None:
    computed = float(apr(mainnet.scenario(day)).net)
    assert abs(computed - day.reported_apr) * 100 < BANDS[day.date.isoformat()]


@by_date
def test_comparison_adds_up_and_closes(day: mainnet.Snapshot, x64: bool) -> None:
    exact = 1e-15 if x64 else 1e-8
    result = reported.comparison(day)
    rows = {row.label: row.apr for row in result.rows}
    parts = list(rows)[: list(rows).index("computed")]
    assert sum(rows[label] for label in parts) == pytest.approx(result.computed, abs=10 * exact)
    assert rows["computed"] == result.computed
    assert rows["reported"] == result.reported == day.reported_apr
    assert rows["reported less computed"] == result.difference == result.reported - result.computed
    perfect = 64 / np.sqrt(1e9 * day.total_stake_eth) * 82_181.25
    assert rows["perfect consensus duties"] == pytest.approx(perfect, abs=10 * exact)
    losses = ("votes that others miss", "slots without a block", "duties that it misses itself")
    assert all(rows[label] < 0 for label in losses)
    assert rows["year of 365 days"] == pytest.approx(-result.computed * 0.25 / 365, rel=1e-3)
    # With the closing mean the computed APR is the reported one.
    average = mainnet.scenario(day)
    shift = np.log(result.closing_mean_eth / result.mean_eth)
    moved = leaves.replace(average, {"block_value.log_mean": average.block_value.log_mean + shift})
    assert float(apr(moved).net) * 365 / 365.25 == pytest.approx(day.reported_apr, abs=100 * exact)
    low, high = result.closing_range_eth
    assert low < result.closing_mean_eth < high


@by_date
def test_explanation_states_the_numbers_that_it_explains(day: mainnet.Snapshot) -> None:
    result = reported.comparison(day)
    text = result.explanation
    assert f"{abs(result.difference) * 100:.3f} percentage points" in text
    assert f"{result.closing_mean_eth:.4f} ETH" in text
    assert ("below" if result.difference < 0 else "above") in text
    assert day.note in text
    assert all(row.note for row in result.rows)


def test_comparison_of_a_snapshot_of_one_s_own() -> None:
    other = dataclasses.replace(mainnet.newest(), reported_apr=0.03)
    assert reported.comparison(other).difference == pytest.approx(0.03 - reported.comparison(other).computed)


def test_default_mean_lies_between_what_the_reported_rate_implies(x64: bool) -> None:
    """Perfect duties leave less to the execution layer than realised ones do; the default mean is between the two."""
    newest = mainnet.newest()
    per_year = 2_629_800 / newest.total_stake_eth
    perfect = 64 / np.sqrt(1e9 * newest.total_stake_eth) * 82_181.25
    assert (newest.reported_apr - perfect) / per_year < 0.015 < reported.comparison(newest).closing_mean_eth


def test_unknown_day_and_block_value_list_what_there_is() -> None:
    with pytest.raises(ValueError, match="no snapshot of 2024-01-01; there are 2023-12-31, 2025-12-31, 2026-08-22"):
        mainnet.scenario("2024-01-01")
    with pytest.raises(ValueError, match=r"unknown block value '2023'; did you mean .*2023-2024"):
        block_values.get("2023")


def test_block_value_of_2023_is_what_its_payments_give(shared: Path, x64: bool) -> None:
    entry = block_values.get("2023-2024")
    path = shared / "data" / "mev_blocks_sample.csv"
    found = payments.read(path)
    fit = block_value.fit_log_normal(jnp.asarray(found.payment_eth, float))
    rel = 1e-12 if x64 else 1e-4
    assert entry.settings["log_mean"] == pytest.approx(float(fit.distribution.log_mean), rel=rel)
    assert entry.settings["log_std"] == pytest.approx(float(fit.distribution.log_std), rel=rel)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = [row["kind"] for row in rows if not row["payment_eth"]]
    counts = (found.paid, found.rows, found.missing, kinds.count("local"), kinds.count("unknown"))
    assert counts == (46_278, 50_830, 4_552, 4_339, 213)
    for count in counts:
        assert f"{count:,}" in entry.method
    assert (rows[0]["time_utc"][:10], rows[-1]["time_utc"][:10]) == (entry.start.isoformat(), entry.end.isoformat())
    assert f"{fit.sample_mean:.3f} ETH" in entry.method
    assert f"{block_value.mean(entry.distribution()):.3f} ETH" in entry.method


def test_block_values_of_2026_hold_the_published_numbers(published: dict[str, Any]) -> None:
    source = published["mev_dist_2026"]["value"]
    default, alternative = block_values.get("2026"), block_values.get("2026-published-mean")
    assert default.settings["median_eth"] == alternative.settings["median_eth"] == source["p50"]
    assert alternative.settings["mean_eth"] == source["mean"]
    assert default.distribution() == Scenario().block_value
    assert (default.end - default.start).days == 30
    # Why the published mean is only an alternative: it bends the middle of the distribution.
    p90 = {entry.name: float(block_value.quantile(entry.distribution(), level=0.9)) for entry in (default, alternative)}
    assert p90["2026-published-mean"] > 2 * source["p90"]
    assert re.search(r"0\.10 ETH where 0\.05", alternative.method)
    assert f"{p90['2026-published-mean']:.2f}" == "0.10"


def test_no_block_value_is_the_one_that_a_document_assumes() -> None:
    for entry in block_values.BLOCK_VALUES.values():
        value = entry.distribution()
        assert (round(value.log_mean, 1), round(value.log_std, 1)) != (-2.5, 1.2)
        assert entry.source
        assert entry.start < entry.end


def test_embedded_tables_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        block_values.BLOCK_VALUES["mine"] = block_values.get("2026")  # type: ignore[index]
    with pytest.raises(TypeError):
        block_values.get("2026").settings["mean_eth"] = 1.0  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        mainnet.newest().reported_apr = 0.1  # type: ignore[misc]
