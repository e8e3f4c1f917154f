"""`jaxstake luck`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

pytestmark = pytest.mark.usefixtures("only_x64")
QUICK = ("--points", 1 << 15, "--lanes", 20_000)


def test_json_agrees_with_itself_and_with_the_apr(cli):
    result = cli("luck", "--validators", 3, "--json", *QUICK)
    assert (result.code, result.err) == (0, "")
    found = result.json
    rate = cli("apr", "--json").json
    assert found["mean"] == pytest.approx(rate["gross"], rel=1e-10)
    quantiles = [found["quantiles"][level] for level in ("0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99")]
    assert quantiles == sorted(quantiles)
    for level, value in found["quantiles"].items():
        low, high = found["quantile_bounds"][level]
        assert low < value < high
    assert found["value_at_risk_95"] == pytest.approx(-found["quantiles"]["0.05"], rel=1e-9)
    assert -found["conditional_value_at_risk_95"] < found["quantiles"]["0.05"]
    assert found["certainty_equivalent"] < found["mean"]
    assert found["sharpe"] == pytest.approx(found["mean"] / found["standard_deviation"], rel=1e-9)
    slots, stake, uptime = 2_629_800, 42_228_608, 0.9965
    law = stats.binom(slots, 96 / stake * uptime)
    assert found["proposals"]["expected"] == pytest.approx(law.mean(), rel=1e-9)
    assert found["proposals"]["chance_of_none"] == pytest.approx(law.pmf(0), rel=1e-6)
    sizes = found["median_by_pool_size"]
    assert list(sizes)[:3] == ["1", "2", "4"]
    assert sizes["1"] < sizes["64"] < sizes["10000"]


def test_monte_carlo_agrees_with_the_grid(cli):
    found = cli("luck", "--json", *QUICK).json
    drawn = found["monte_carlo"]
    assert drawn["lanes"] == 20_000
    pairs = (
        ("mean", found["mean"]),
        ("quantile_0.5", found["quantiles"]["0.5"]),
        ("quantile_0.95", found["quantiles"]["0.95"]),
    )
    for name, value in pairs:
        assert abs(drawn[name]["value"] - value) < 4 * drawn[name]["standard_error"] + found["grid"]["shift_bound"]


def test_heavy_payments_from_a_file(cli, tmp_path):
    random = np.random.default_rng(2)
    body, tail = random.lognormal(-3.5, 0.35, 800), 0.1 * (1.0 + random.pareto(0.9, 800))
    values = np.where(random.random(800) < 0.8, body, tail)
    file = tmp_path / "payments.csv"
    file.write_text("payment_eth\n" + "\n".join(["0"] * 50 + [f"{x:.9f}" for x in values]) + "\n")
    found = cli("luck", "--mev-data", file, "--json", "--points", 4096, "--lanes", 0).json
    assert found["block_value"]["family"] == "WithZeros"
    assert found["block_value"]["paid_share"] == pytest.approx(800 / 850)
    assert found["standard_deviation"] is None  # infinite
    assert found["mean"] is None or math.isfinite(found["mean"])
    assert found["chance_below_mean"] > 0.5
    assert "monte_carlo" not in found


def test_table_and_figure(cli, tmp_path):
    figure = tmp_path / "luck.svg"
    result = cli("luck", "--validators", 2, "--figure", figure, *QUICK)
    assert result.code == 0
    assert "Gross return per year of 2 validators" in result.out
    assert "a smoothing pool (fee 0.0%)" in result.out
    assert "Monte Carlo, 20,000 draws" in result.out
    assert figure.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--validators", 0), "validators must be at least 1"),
        (("--validators", 1e9), "network.total_stake_eth must be at least validators * effective_balance_eth"),
        (("--points", 1000), "points must be a power of two"),
        (("--lanes", -1), "--lanes must be at least 0, got -1"),
        (("--pool-fee", 2), "fee must be in [0, 1], got 2"),
        (("--years", 0), "years must be greater than 0"),
        (("--mev-data", "no.csv"), "cannot read no.csv"),
        (("--risk-aversion", -1), "risk_aversion must be at least 0"),
        (("--fork", "phase0"), "this fork does not define sync_committee_size"),
    ],
)
def test_bad_input_is_one_line(refused, arguments, message):
    assert message in refused("luck", *arguments)
