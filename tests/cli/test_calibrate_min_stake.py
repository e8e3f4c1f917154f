"""`jaxstake calibrate min-stake`."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("only_x64")
SMALL = ("--paths", 4, "--held-out", 4, "--periods", 26, "--classes", 16, "--restarts", 2)
COMMAND = ("calibrate", "min-stake")


def test_json_and_figure(cli, tmp_path):
    picture = tmp_path / "trade_off.svg"
    result = cli(*COMMAND, *SMALL, "--json", "--figure", picture)
    assert result.code == 0
    assert result.err == ""
    found = result.json
    assert set(found["parameters"]) == {"base_eth", "count_exponent", "volatility_slope"}
    assert list(found["held_out"]) == ["32 ETH", "best static", "dynamic"]
    assert found["held_out"]["32 ETH"]["base_eth"] == 32.0
    assert found["held_out"]["32 ETH"]["gain_over_32_eth"] == 0.0
    assert isinstance(found["converged"], bool)
    assert 0 <= found["agreeing"] <= found["restarts"] == 2
    assert set(found["dynamic_over_static"]) == {"gain", "standard_error"}
    assert len(found["surface"]["weights"]) == len(found["surface"]["best_static_eth"]) == 210
    for row in found["parameters"].values():
        assert (row["standard_error"] is not None) == row["identified"]
    assert picture.read_text().startswith("<?xml")


def test_table(cli):
    result = cli(*COMMAND, *SMALL, "--set", "weights.load=2")
    assert result.code == 0
    for words in ("base_eth", "best static", "dynamic over best static", "restarts agree", "at a limit"):
        assert words in result.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "weights.lod=1"), "weights.load"),
        (("--set", "weights.load"), "a setting must be name=value, got 'weights.load'"),
        (("--set", "weights.load=many"), "weights.load must be a number, got 'many'"),
        (("--lowest", "64"), "highest_eth must exceed lowest_eth = 64.0, got 64.0"),
        (("--highest", "1e8"), "highest_eth must be at most the largest wealth"),
        (("--paths", "1"), "paths must be at least 2, got 1"),
        (("--classes", "0"), "classes must be at least 1, got 0"),
        (("--periods", "0"), "periods must be at least 1, got 0"),
        (("--set", "dynamics.behaviour.exit_hazard=-1"), "dynamics.behaviour.exit_hazard must be at least 0"),
    ],
)
def test_bad_input(refused, options, message):
    assert message in refused(*COMMAND, *SMALL, *options)
