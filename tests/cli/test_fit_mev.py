"""`jaxstake fit-mev`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

pytestmark = pytest.mark.usefixtures("only_x64")
FAMILIES = {"lognormal", "lognormal_mixture", "skew_lognormal", "lognormal_pareto", "empirical"}
FIELDS = {"parameters", "standard_errors", "log_likelihood", "aic", "bic", "ks", "converged"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray]:
    """A file of payments with a heavy tail, zeros and unknown ones, over two days; another to test on."""
    random = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("payments")
    made = []
    for name, count in (("fit.csv", 1_500), ("test.csv", 600)):
        body, tail = random.lognormal(-3.5, 0.35, count), 0.1 * (1.0 + random.pareto(1.5, count))
        paid = np.where(random.random(count) < 0.8, body, tail)
        lines = ["slot,time_utc,payment_eth,base_fee_gwei"]
        for place, value in enumerate(paid):
            text = "" if place % 50 == 7 else "0" if place % 100 == 3 else f"{value:.9f}"
            day = 1 if place < count // 2 else 2
            lines.append(
                f"{100 + place},2024-01-0{day}T00:{place % count // 60:02d}:{place % 60:02d}Z,{text},{20 + value}"
            )
        (folder / name).write_text("\n".join(lines) + "\n")
        made.append(paid)
    return folder / "fit.csv", folder / "test.csv", made[0]


def test_json_holds_every_family_and_the_test(cli, files):
    fit, test, _ = files
    result = cli("fit-mev", fit, "--test", test, "--json", "--missing", "zero")
    assert (result.code, result.err) == (0, "")
    found = result.json
    assert (found["rows"], found["zero"], found["missing"]) == (1_500, 15, 30)
    assert found["paid"] == 1_455
    assert found["paid_share"] == pytest.approx(1_455 / 1_500)
    assert set(found["families"]) == FAMILIES
    for family in found["families"].values():
        assert family.keys() >= FIELDS | {"test_log_likelihood_per_block", "test_ks"}
        assert family["converged"] is True
        count = family["number_of_parameters"]
        assert family["aic"] == pytest.approx(2 * count - 2 * family["log_likelihood"])
        assert family["bic"] == pytest.approx(count * math.log(1_455) - 2 * family["log_likelihood"])
    candidates = {name: row["bic"] for name, row in found["families"].items() if row["candidate"]}
    assert found["chosen"] == min(candidates, key=candidates.get) == "lognormal_pareto"
    assert "BIC" in found["reason"]
    better, plain = found["families"]["lognormal_pareto"], found["families"]["lognormal"]
    assert better["test_log_likelihood_per_block"] > plain["test_log_likelihood_per_block"]


def test_the_lognormal_is_that_of_scipy(cli, files):
    fit, _, _ = files
    values = np.genfromtxt(fit, delimiter=",", skip_header=1, usecols=2)
    logs = np.log(values[values > 0])
    row = cli("fit-mev", fit, "--family", "lognormal", "--json").json["families"]["lognormal"]
    assert row["parameters"] == pytest.approx({"log_mean": logs.mean(), "log_std": logs.std()}, rel=1e-10)
    expected = {"log_mean": logs.std() / math.sqrt(logs.size), "log_std": logs.std() / math.sqrt(2 * logs.size)}
    assert row["standard_errors"] == pytest.approx(expected, rel=1e-10)
    law = stats.lognorm(s=logs.std(), scale=math.exp(logs.mean()))
    assert row["log_likelihood"] == pytest.approx(law.logpdf(np.exp(logs)).sum(), rel=1e-10)
    assert row["ks"] == pytest.approx(stats.kstest(np.exp(logs), law.cdf).statistic, rel=1e-8)
    assert "test_ks" not in row


def test_days_left_out_dependence_and_figure(cli, files, tmp_path):
    fit, _, _ = files
    figure = tmp_path / "fit.png"
    arguments = ("fit-mev", fit, "--without", "2024-01-02", "--dependence", "--figure", figure, "--criterion", "aic")
    found = cli(*arguments, "--family", "lognormal", "--json").json
    assert (found["rows"], found["left_out"], found["criterion"]) == (750, 750, "aic")
    memory = found["dependence"]["memory"]
    assert set(memory) == {"none", "ar1", "ar1_noise", "level"}
    assert found["dependence"]["chosen"] == "none"  # the payments are independent
    assert abs(memory["ar1"]["parameters"]["short_persistence"]) < 0.15
    assert found["dependence"]["base_fee"]["correlation"] > 0.5  # base fees rise with the payments here
    assert figure.stat().st_size > 20_000


def test_table(cli, files):
    fit, test, _ = files
    result = cli("fit-mev", fit, "--test", test, "--family", "lognormal", "--family", "lognormal_pareto")
    assert result.code == 0
    assert "1,455 payments, 15 of zero, 30 unknown" in result.out
    assert "lognormal with Pareto tail *" in result.out
    assert "tail_shape" in result.out


def test_relay_payloads(cli, shared, tmp_path):
    """The layout of the relay Data API, of which the sample has few payloads."""
    source = shared / "data" / "relay_payload_delivered_sample.json"
    payloads = json.loads(source.read_text())
    found = cli("fit-mev", source, "--family", "lognormal", "--json").json
    assert found["paid"] == len(payloads) == 25
    logs = np.log([int(row["value"]) / 1e18 for row in payloads])
    assert found["families"]["lognormal"]["parameters"]["log_mean"] == pytest.approx(logs.mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("slot,payment_eth\n1,0.1\n", (), "payments_eth must hold at least 10 exact payments above 0, got 1"),
        ("slot,value\n1,0.1\n", (), "has no column payment_eth"),
        ("slot,payment_eth\n1,-0.1\n", (), "payment_eth must be at least 0 and finite, got -0.1"),
        ("slot,payment_eth\n1,0.1\n", ("--criterion", "cv"), "--criterion must be aic or bic, got cv"),
        ("slot,payment_eth\n1,0.1\n", ("--missing", "drop"), "--missing must be ignore or zero, got drop"),
        ("slot,payment_eth\n1,0.1\n", ("--without", "2024-01-01"), "without the column time_utc"),
        ("slot,payment_eth\n1,0.1\n", ("--family", "normal"), "unknown family 'normal'"),
        (None, (), "cannot read"),
    ],
)
def test_bad_input_is_one_line(refused, tmp_path, text, more, message):
    file = tmp_path / "payments.csv"
    if text is not None:
        file.write_text(text)
    assert message in refused("fit-mev", file, *more)
