"""`jaxstake calibrate scoring` on generated and real panels, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("only_x64")


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    """Sixty validators of thirty operators over eight intervals, whose quality persists."""
    rng = np.random.default_rng(4)
    quality = rng.normal(2.5, 1.0, 60)
    lines = ["interval,validator,operator,assigned,attested"]
    for t in range(8):
        for v in range(60):
            if t >= v % 3 and (v % 10 != 9 or t < 5):
                p = 1.0 / (1.0 + np.exp(-quality[v] - 0.3 * rng.normal()))
                lines.append(f"{t},{v},{v // 2},100,{rng.binomial(100, p)}")
    path = tmp_path_factory.mktemp("panel") / "panel.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_users_panel(cli, panel, tmp_path):
    figure = tmp_path / "figure.svg"
    result = cli("calibrate", "scoring", "--data", panel, "--bad-rate", "0.8", "--json", "--figure", figure)
    assert result.code == 0
    found = result.json
    assert found["layout"] == "panel"
    assert found["clustered_by"] == "operator"
    weights = found["weights"]
    assert weights["converged"]
    assert sum(weights[name]["value"] for name in ("alpha", "beta", "gamma")) == pytest.approx(1.0)
    assert weights["k"]["low"] > 0.0
    for name in ("alpha", "beta", "gamma", "k", "rho"):
        assert weights[name]["low"] <= weights[name]["value"] <= weights[name]["high"]
    names = [one["name"] for one in found["out_of_sample"]["later_intervals"]]
    assert names == ["fit", "performance", "tenure", "reliability", "equal"]
    assert found["persistence"]["correlation"] > 0.5
    assert found["used"] + found["left_out"] == found["rows"]
    assert "<svg" in figure.read_text()[:500]


def test_tables(cli, panel):
    result = cli("calibrate", "scoring", "--data", panel, "--bad-rate", "0.8")
    assert result.code == 0
    for words in ("alpha (performance)", "clustered by", "restarts agree", "Ranking, later intervals", "trend z"):
        assert words in result.out


def test_the_cross_section(cli, shared):
    found = cli("calibrate", "scoring", "--data", shared / "data" / "csm_validator_attestations.csv", "--json").json
    assert found["used"] == 895
    assert list(found["out_of_sample"]) == ["held_out"]
    assert found["weights"]["converged"]
    assert found["weights"]["k"]["identified"]
    assert not found["weights"]["beta"]["identified"]
    fit, *others = found["out_of_sample"]["held_out"]
    assert fit["concordance"] > 0.5
    assert len(others) == 4


def test_presence_alone_gives_the_exit_hazard(cli, shared, tmp_path):
    figure = tmp_path / "hazard.svg"
    path = shared / "data" / "rp_node_intervals.csv"
    found = cli("calibrate", "scoring", "--data", path, "--json", "--figure", figure).json
    assert found["weights"] is None
    assert "weights cannot be fitted" in found["reason"]
    hazard = found["exit_hazard"]
    assert 0.0 < hazard["common"] < 0.1
    assert all(row["low"] <= row["hazard"] <= row["high"] for row in hazard["by_tenure"])
    assert figure.exists()
    assert "weights cannot be fitted" in cli("calibrate", "scoring", "--data", path).out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "is no panel"),
        ("interval,validator,assigned,attested\n0,a,5,6\n", "line 2: attested 6 exceeds assigned 5"),
        ("interval,validator,assigned,attested\n0,a,5,5\n", "no row has enough past intervals"),
        ("node,interval\n0,1\n", "one interval and no duties"),
    ],
)
def test_bad_files_are_refused(refused, tmp_path, text, message):
    path = tmp_path / "panel.csv"
    path.write_text(text)
    assert message in refused("calibrate", "scoring", "--data", path)


def test_bad_options_are_refused(refused, panel, tmp_path):
    assert "cannot read" in refused("calibrate", "scoring", "--data", tmp_path / "none.csv")
    assert "--bad-rate must be in (0, 1], got 2" in refused("calibrate", "scoring", "--data", panel, "--bad-rate", "2")
