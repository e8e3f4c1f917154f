"""`jaxstake apr`, and what every command shares."""

from __future__ import annotations

import subprocess
import sys

import jax
import pytest

import jaxstake
from jaxstake.core import leaves
from jaxstake.core.pytree import data_fields
from jaxstake.data import mainnet
from jaxstake.economy.apr import Apr, apr
from jaxstake.economy.scenario import Scenario


def test_json_has_exactly_the_components(cli):
    result = cli("apr", "--json")
    assert result.code == 0
    assert list(result.json) == list(data_fields(Apr))
    assert len(result.json) == 16
    assert result.err == ""
    assert "-0.0," not in result.out


def test_json_is_the_library_in_double_precision(cli):
    found = cli("apr", "--json").json
    with jax.enable_x64(True):
        expected = apr(Scenario())
    assert found == {name: pytest.approx(float(value), rel=1e-12, abs=1e-30) for name, value in vars(expected).items()}


def test_table_shows_percent_and_eth(cli):
    result = cli("apr")
    assert result.code == 0
    rows = {line.split("│")[1].strip(): line for line in result.out.splitlines() if line.startswith("│")}
    assert list(rows) == list(data_fields(Apr))
    assert "2.62005" in rows["net"]
    assert "0.8384" in rows["net"]
    assert "2026-08-22" in result.out


@pytest.mark.parametrize(
    "options",
    [
        ("--set", "validator.uptime=0.9"),
        ("--set", "costs.commission=0.1"),
        ("--set", "fork.base_reward_factor=32"),
        ("--fork", "bellatrix"),
        ("--snapshot", "2023-12-31"),
    ],
)
def test_options_change_the_result(cli, options):
    assert cli("apr", "--json", *options).json["net"] != cli("apr", "--json").json["net"]


def test_later_options_are_stronger(cli, tmp_path):
    file = tmp_path / "scenario.toml"
    file.write_text('snapshot = "2025-12-31"\nfork = "electra"\n[validator]\nuptime = 0.9\n[costs]\ncommission = 0.2\n')
    found = cli("apr", "--json", "--scenario", file, "--fork", "deneb", "--set", "costs.commission=0.1").json
    with jax.enable_x64(True):
        changed = {"validator.uptime": 0.9, "costs.commission": 0.1}
        base = mainnet.scenario("2025-12-31")
        fork = mainnet.scenario("2023-12-31").fork  # Capella, whose rewards are Deneb's
        base = Scenario(network=base.network, validator=base.validator, block_value=base.block_value, fork=fork)
        expected = apr(leaves.replace(base, changed))
    assert found["net"] == pytest.approx(float(expected.net), rel=1e-9)


def test_settings_repeat(cli):
    both = cli("apr", "--json", "--set", "costs.commission=0.5", "--set", "validator.uptime=1").json
    assert both["commission"] == pytest.approx(-0.5 * both["gross"])
    assert both["missed"] == 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "validator.uptme=0.9"], ["unknown leaf 'validator.uptme'", "validator.uptime"]),
        (["--set", "validator.uptime=1.5"], ["validator.uptime must be in [0, 1]", "1.5"]),
        (["--set", "validator.uptime=much"], ["validator.uptime", "number", "much"]),
        (["--set", "validator.uptime=nan"], ["validator.uptime", "nan"]),
        (["--set", "validator.uptime"], ["name=value", "validator.uptime"]),
        (["--set", "network.total_stake_eth=1"], ["network.total_stake_eth", "at least", "32"]),
        (["--fork", "electrum"], ["unknown fork 'electrum'", "electra"]),
        (["--fork", "phase0"], ["fork"]),
        (["--snapshot", "2020-01-01"], ["2020-01-01", "2026-08-22"]),
        (["--scenario", "absent.toml"], ["cannot read absent.toml"]),
        (["--no-such-option"], ["--no-such-option"]),
        (["argument"], ["argument"]),
    ],
)
def test_bad_input_is_one_line(refused, options, words):
    message = refused("apr", *options)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[validator\nuptime = 1", ["not valid TOML", "line 1"]),
        ("[validator]\nuptme = 1", ["unknown leaf 'validator.uptme'", "validator.uptime"]),
        ("[validator]\nuptime = 2", ["validator.uptime must be in [0, 1]", "2"]),
        ('snapshot = "2020-01-01"', ["2020-01-01"]),
        ('fork = "electrum"', ["unknown fork 'electrum'"]),
    ],
)
def test_bad_scenario_file_is_one_line(refused, tmp_path, text, words):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    message = refused("apr", "--scenario", file)
    assert str(file) in message
    for word in words:
        assert word in message


def test_unknown_command_is_one_line(refused):
    assert "swep" in refused("swep")


def test_without_a_command_help_is_shown(cli):
    result = cli()
    assert result.code == 0
    assert all(name in result.out for name in ("apr", "sweep", "sensitivity", "report"))


def test_version(cli):
    assert cli("--version").out.strip() == jaxstake.__version__


def test_help_imports_no_heavy_package():
    code = (
        "import sys; from jaxstake.cli.main import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "print('heavy:', [name for name in ('xarray', 'matplotlib', 'zarr', 'pandas') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "heavy: []"


def test_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "jaxstake", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == jaxstake.__version__
