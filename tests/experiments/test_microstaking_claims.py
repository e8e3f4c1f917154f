"""The experiment's changes against NumPy and SciPy by hand, its statistics against its lanes, and what it writes."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import xarray
from scipy.optimize import brentq
from scipy.stats import norm, spearmanr

from jaxstake.microstaking.population import Population, yield_curve

pytestmark = pytest.mark.usefixtures("only_x64")  # the script always computes in double precision

FOLDER = Path(__file__).parents[2] / "experiments"
SCENARIOS, SEED = 8, 3


@pytest.fixture(scope="module")
def claims() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("microstaking_claims")
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def model(claims: ModuleType) -> ModuleType:
    return importlib.import_module("microstaking_claims_model")


@pytest.fixture(scope="module")
def out(x64: bool, claims: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not x64:
        pytest.skip("needs double precision")
    folder = tmp_path_factory.mktemp("claims") / "new"
    claims.main(["--out", str(folder), "--scenarios", str(SCENARIOS), "--seed", str(SEED)])
    return folder


@pytest.fixture(scope="module")
def data(out: Path) -> xarray.Dataset:
    with xarray.open_dataset(out / "scenarios.nc", engine="scipy") as found:
        return found.load()


@pytest.fixture(scope="module")
def rows(out: Path) -> list[dict[str, str]]:
    with (out / "claims.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def by_hand(at: dict[str, float], minimum: float, half: float, ether: float, band: float) -> dict[str, float]:
    """One scenario by integration over a fine grid of wealth, a root by SciPy, and formulas written out."""
    every = np.linspace(0.0, np.log(1e7), 400_001)
    mean, deviation = at["log_mean"], at["log_std"]
    density = norm.pdf(every, mean, deviation)
    holders = ether / np.trapezoid(density * np.exp(every), every)
    inclined = at["solo_share_small"] * np.minimum(1.0, np.exp(-at["solo_decline"] * (every - np.log(32.0))))
    density = holders * density * np.where(every >= np.log(minimum) - 1e-12, inclined, 0.0)
    able = np.trapezoid(density * np.exp(every), every)
    consensus = float(yield_curve(Population()).consensus)

    def supply(total: float) -> tuple[float, float, float]:
        offered = consensus / np.sqrt(total) + at["execution_income_eth"] / total
        ratio = np.log(np.array([1.0, 1.0 - at["fee"]]) * offered / at["median_required_yield"])
        alone, pool = norm.cdf(ratio / at["log_std_required_yield"])
        return alone, alone * able, pool * (ether - able)

    total = brentq(lambda t: sum(supply(t)[1:]) - t, 1e5, ether, xtol=1e-6, rtol=1e-14)
    willing, solo, pooled = supply(total)
    tail = np.arange(1.0, 3_797.0) ** -at["zipf_exponent"]
    leaders = np.array([at["first_share"], at["second_share"], at["third_share"]])
    p = np.concatenate([leaders, (1.0 - leaders.sum()) * tail / tail.sum()]) * pooled / total
    size = np.exp(every)
    solo_bits = -willing * np.trapezoid(density * size / total * np.log2(size / total), every)
    traded = willing * np.trapezoid(density * size * (size / 32.0) ** -at["size_response"], every)
    impact = at["impact"] * at["daily_volatility"] * np.sqrt(half * total / at["daily_volume_eth"])
    liquid = at["pool_share"] * (pooled + at["solo_tradability"] * solo)
    volume = at["pool_days"] * at["turnover"] * (pooled + at["solo_tradability"] * traded)
    low = 1.0 / np.sqrt(1.0 - band) - 1.0 / np.sqrt(1.0 + band)
    return {
        "state.total_stake_eth": total,
        "state.solo_share": solo / total,
        "attack_cost.bought": half * total * (at["loss_fraction"] + impact) * total ** at["price_response"],
        "entropy.operators": -np.sum(p * np.log2(p)) + solo_bits,
        "entropy.at_minimum": np.log2(total / minimum),
        "depth.constant_product_stake": at["imbalance"] * liquid * low,
        "depth.constant_product_volume": at["imbalance"] * volume * low,
        "slippage.constant_product_stake": at["trade_eth"] / (at["imbalance"] * liquid + at["trade_eth"]),
        "slippage.constant_product_volume": at["trade_eth"] / (at["imbalance"] * volume + at["trade_eth"]),
        "slippage.at_minimum": minimum / total,
    }


@pytest.mark.parametrize("scenario", [0, 5])
def test_changes_are_those_worked_by_hand(data: xarray.Dataset, model: ModuleType, scenario: int) -> None:
    at = {name.rsplit(".", 1)[-1]: float(data[name][scenario]) for name in model.RANGES}
    first, last = (by_hand(at, v, model.MAJORITY, model.ETHER, model.BAND) for v in (32.0, 1.0))
    for name in first:
        found = data[name][scenario].to_numpy()
        assert found[-1] / found[0] - 1 == pytest.approx(last[name] / first[name] - 1, rel=2e-3, abs=2e-6), name
        if name != "attack_cost.bought":  # its level depends on the price of ETH, which is no part of the change
            assert found[[0, -1]] == pytest.approx([first[name], last[name]], rel=1e-4), name


def test_nothing_changes_at_32(data: xarray.Dataset, claims: ModuleType) -> None:
    readings = [name.split(".", 1) for name in data if str(name).split(".")[0] in claims.CLAIMS]
    assert len(readings) == 5 + 4 + 7 + 7
    for claim, reading in readings:
        assert np.all(claims.changes(data, claim, reading)[:, 0] == 0.0)


def test_counting_is_the_number_of_minima_in_the_stake(data: xarray.Dataset, claims: ModuleType) -> None:
    stake = data["state.total_stake_eth"].to_numpy()
    times = 32.0 / data["minimum"].to_numpy() * (stake / stake[:, :1])
    for claim in ("attack_cost", "depth"):
        assert claims.changes(data, claim, "at_minimum") == pytest.approx(times - 1, rel=1e-12)
        assert claims.changes(data, claim, "at_32")[:, -1] == pytest.approx(times[:, -1] / 32 - 1, abs=1e-12)
    assert claims.changes(data, "slippage", "at_minimum") == pytest.approx(1 / times - 1, rel=1e-12)
    same = data.assign({"depth.at_minimum": (data["state.total_stake_eth"] * 0 + 42e6) / data["minimum"]})
    assert claims.changes(same, "depth", "at_minimum")[:, -1] == pytest.approx(31.0, rel=1e-14)  # +3100 %


def test_pools_of_both_kinds_deepen_alike_and_slip_by_their_depth(data: xarray.Dataset, claims: ModuleType) -> None:
    for basis in ("stake", "volume"):
        deeper = claims.changes(data, "depth", f"constant_product_{basis}")
        assert claims.changes(data, "depth", f"stable_swap_{basis}") == pytest.approx(deeper, rel=1e-9, abs=1e-11)
        for kind in ("constant_product", "stable_swap"):
            less = claims.changes(data, "slippage", f"{kind}_{basis}")
            assert np.all(np.sign(less[:, 1:]) == -np.sign(deeper[:, 1:]))
            assert np.all(np.abs(less) <= 1.1 * np.abs(1 / (1 + deeper) - 1) + 1e-9)


def test_rows_are_the_statistics_of_the_lanes(
    data: xarray.Dataset, rows: list[dict[str, str]], model: ModuleType
) -> None:
    assert len(rows) == 23 * (len(model.MINIMA) - 1)
    for row in rows:
        values = data[f"{row['claim']}.{row['reading']}"].sel(minimum=[32.0, float(row["minimum_stake_eth"])])
        change = (values[:, 1] / values[:, 0] - 1).to_numpy()
        claimed = float(row["claimed"])
        holds = change >= claimed if claimed > 0 else change <= claimed
        assert float(row["share_holds"]) == np.count_nonzero(holds) / SCENARIOS
        assert float(row["share_holds"]) <= float(row["share_right_sign"]) <= 1
        assert float(row["median"]) == pytest.approx(np.median(change), rel=1e-12)
        assert float(row["p05"]) <= float(row["median"]) <= float(row["p95"])
        extreme = change.max() if claimed > 0 else change.min()
        assert float(row["largest"]) == extreme == change[int(row["largest_scenario"])]
        assert bool(json.loads(row["medians_where_it_holds_and_not"])) == (0 < holds.sum() < SCENARIOS)


def test_the_largest_is_named_with_its_parameters(data: xarray.Dataset, rows: list[dict[str, str]]) -> None:
    for row in rows:
        found = json.loads(row["largest_parameters"])
        fee = float(data["population.preferences.fee"][int(row["largest_scenario"])])
        assert found["fee"] == pytest.approx(fee, rel=1e-3)


def test_design_fills_the_ranges_and_repeats(model: ModuleType) -> None:
    drawn = model.design(64, SEED)
    for name, (low, high, scale) in model.RANGES.items():
        even = np.log(drawn[name] / low) / np.log(high / low) if scale == "log" else (drawn[name] - low) / (high - low)
        assert np.array_equal(np.sort(np.floor(64 * even)), np.arange(64)), name  # one in each of 64 strata
    again, other = model.design(64, SEED), model.design(64, SEED + 1)
    assert all(np.array_equal(drawn[name], again[name]) for name in drawn)
    assert not any(np.array_equal(drawn[name], other[name]) for name in drawn)


def test_rank_correlations_are_spearmans(claims: ModuleType, rng: np.random.Generator) -> None:
    y = rng.normal(size=50)
    known = {"a": rng.normal(size=50), "b": y + rng.normal(size=50), "still": np.ones(50)}
    found = claims.rank_correlations(known, y)
    assert list(found) == sorted(found, key=lambda name: -abs(found[name]))
    assert found["still"] == 0
    assert [found[n] for n in "ab"] == pytest.approx([spearmanr(known[n], y).statistic for n in "ab"], rel=1e-12)


def test_lanes_that_are_nan_are_counted_and_left_out(
    claims: ModuleType, model: ModuleType, data: xarray.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert data.attrs["invalid_lanes"] == 0
    monkeypatch.setitem(model.RANGES, "venue.trade_eth", (-100.0, 100.0, "linear"))
    found = model.compute(SCENARIOS, SEED)
    bad = found["venue.trade_eth"].to_numpy() < 0
    assert np.array_equal(found["invalid"].to_numpy() == 1, bad)
    assert found.attrs["invalid_lanes"] == bad.sum() * len(model.MINIMA)
    table = claims.summarise(found)
    assert {row["scenarios"] for row in table} == {SCENARIOS - bad.sum()}
    assert np.isfinite([row["median"] for row in table]).all()
    assert f"{bad.sum()} more left out" in claims.render(table, found)


def test_the_text_says_what_the_document_says(claims: ModuleType, data: xarray.Dataset) -> None:
    text = claims.render(claims.summarise(data), data)
    for words in ("51% attack cost increased by ~300%", "depth +200% is slippage -67%", "slippage -60% is depth +150%"):
        assert words in text
    assert "attack cost 8 ETH" in text
    assert "slippage 13 ETH" in text


def test_the_figure_is_there(out: Path) -> None:
    assert b"</svg>" in (out / "claims.svg").read_bytes()
    assert (out / "claims.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("more", "words"), [(["--scenarios", "0"], "at least 1, got 0"), (["--seed", "-1"], "non-negative")]
)
def test_bad_input_is_one_line(
    claims: ModuleType, more: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        claims.main(["--out", str(tmp_path), *more])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error
