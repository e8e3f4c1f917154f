"""`jaxstake warn`."""

from __future__ import annotations

import pytest

from jaxstake.core import leaves
from jaxstake.microstaking import risk_warnings
from jaxstake.microstaking.risk_scenario import WarningScenario

pytestmark = pytest.mark.usefixtures("only_x64")


def by_name(result) -> dict:
    return {warning["name"]: warning for warning in result.json["warnings"]}


def test_json_holds_every_warning_and_its_levers(cli):
    result = cli("warn", "--json")
    assert (result.code, result.err) == (0, "")
    found = by_name(result)
    assert list(found) == list(risk_warnings.RULES)
    assert (result.json["fork"], result.json["near"]) == ("fulu", 0.2)
    assert result.json["states"] == {"breached": 2, "near": 2, "safe": 16}
    assert result.json["default_origins"]["queues"].startswith("2026-08-22")
    one = found["entry_queue"]
    assert (one["state"], one["threshold"], one["unit"]) == ("breached", 30.0, "days")
    assert one["value"] == pytest.approx((2_262_825 / 256 + 9) / 225)
    assert next(iter(one["gradient"])) == "queues.entry_eth"
    assert one["gradient"]["queues.entry_eth"] == pytest.approx(-1 / 256 / 225)
    assert one["elasticity"]["queues.entry_eth"] == pytest.approx(-2_262_825 / 256 / 225 / one["margin"])
    assert set(one["gradient"]) <= set(leaves.names(WarningScenario()))


def test_settings_and_file_and_their_order(cli, tmp_path):
    file = tmp_path / "stress.toml"
    file.write_text("corrupt_share = 0.2\n[queues]\nexit_eth = 5e6\n[thresholds]\nexit_days = 20\n")
    found = by_name(cli("warn", "--json", "--scenario", file, "--set", "thresholds.exit_days=100", "--near", "0.5"))
    assert found["corrupt_finality"]["value"] == 0.2
    assert found["corrupt_finality"]["state"] == "near"
    assert found["exit_queue"]["value"] == pytest.approx((5e6 / 256 + 5) / 225)
    assert found["exit_queue"]["threshold"] == 100


def test_stakes_of_real_owners(cli, shared):
    files = [shared / "data" / f"stake_by_owner{tail}_2025-10-21.csv" for tail in ("", "_tail")]
    found = by_name(cli("warn", "--json", "--stakes", files[0], "--stakes", files[1]))
    assert found["operator_finality"]["value"] == pytest.approx(8_452_768 / 35_707_847, rel=1e-9)
    assert 2 < found["nakamoto_finality"]["value"] < 3
    assert 12 < found["nakamoto_fork_choice"]["value"] < 13
    assert next(iter(found["nakamoto_finality"]["gradient"])) == "operators.largest"


def test_table(cli):
    result = cli("warn")
    assert result.code == 0
    rows = [line for line in result.out.splitlines() if line.startswith("│")]
    assert rows[0].split("│")[1].strip() == "client_finality"
    assert "breached" in rows[0]
    assert "client_share" in rows[0]
    for name in risk_warnings.RULES:
        assert name in result.out
    assert "2022-02-28" in result.out


def test_monitoring(cli):
    calm = ["--set", "client_share=0.2", "--set", "queues.entry_eth=0", "--set", "operators.largest=0.15"]
    assert cli("warn", "--fail-on", "breached").code == 3
    assert cli("warn", *calm, "--fail-on", "breached").code == 0
    assert cli("warn", *calm, "--fail-on", "near", "--near", "0").code == 0
    assert cli("warn", *calm, "--fail-on", "near", "--near", "0.9").code == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "thresholds.impact=-1"], ["thresholds.impact must be in (0, 1]", "-1.0"]),
        (["--set", "market.pool.reserve_x=0"], ["market.pool.reserve_x must be greater than 0", "0.0"]),
        (["--set", "thresholds.impct=1"], ["unknown leaf 'thresholds.impct'", "thresholds.impact"]),
        (["--set", "corrupt_share"], ["a setting must be name=value, got 'corrupt_share'"]),
        (["--set", "corrupt_share=x"], ["corrupt_share must be a number, got 'x'"]),
        (["--set", "corrupt_share=nan"], ["corrupt_share must be finite, got nan"]),
        (["--set", "operators.largest=0.9"], ["operators.largest, second and third must add up to at most 1"]),
        (["--near", "-0.1"], ["near must be at least 0 and finite, got -0.1"]),
        (["--fork", "fuluu"], ["fuluu"]),
        (["--fail-on", "safe"], ["--fail-on", "safe"]),
        (["--stakes", "none.csv"], ["cannot read none.csv"]),
        (["--scenario", "none.toml"], ["cannot read none.toml"]),
    ],
)
def test_bad_input_is_one_line(refused, options, words):
    message = refused("warn", *options)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("corrupt_share = 1.5\n", "corrupt_share must be in [0, 1], got 1.5"),
        ("corrupt_share = true\n", "corrupt_share must be a number, got True"),
        ("corrupt_share = \n", "not valid TOML"),
        ("[queue]\nexit_eth = 1\n", "unknown leaf 'queue.exit_eth'; did you mean queues.exit_eth"),
    ],
)
def test_bad_scenario_file(refused, tmp_path, text, word):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    message = refused("warn", "--scenario", file)
    assert word in message
    assert str(file) in message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("stake\n", "has a header but no rows"),
        ("stake\n0\n", "stakes must have a positive sum, got 0.0"),
        ("owner\nx\n", "must have one column stake or effective_balance_eth"),
        ("stake\n-5\n", "stake must be at least 0, got -5.0"),
    ],
)
def test_bad_stakes(refused, tmp_path, text, word):
    file = tmp_path / "stakes.csv"
    file.write_text(text)
    assert word in refused("warn", "--stakes", file)


def test_a_list_of_operators_is_no_setting(refused, tmp_path):
    file = tmp_path / "stakes.csv"
    file.write_text("stake\n32\n64\n96\n128\n")
    message = refused("warn", "--stakes", file, "--set", "operators.others=5")
    assert message == "operators.others is a list: give it by --stakes"
