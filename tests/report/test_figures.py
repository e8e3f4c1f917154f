"""Figures: well-formed, labelled with units, the same bytes again, and free of global state."""

from __future__ import annotations

from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from jaxstake.economy.apr import Apr, apr
from jaxstake.economy.block_value import LogNormal
from jaxstake.economy.scenario import Scenario
from jaxstake.report import block_value_figures, figures, scenario_figures, style

STAKE = np.linspace(20e6, 80e6, 31)


def _breakdown():
    return figures.breakdown(apr(Scenario()))


def _losses():
    parts = dict.fromkeys(vars(apr(Scenario())), 0.0)
    return figures.breakdown(Apr(**{**parts, "source": 0.01, "costs": -0.02, "net": -0.01}))


def _tornado():
    return figures.tornado({"Stake": ("20 M", "80 M", 0.04, 0.02), "Nothing": ("0", "1", 0.03, 0.03)}, base=0.03)


def _stake():
    return scenario_figures.against_stake(STAKE, {"net": 150 / STAKE**0.5}, [("here", 42e6, 0.023)])


def _distribution():
    values = np.append(np.random.default_rng(1).normal(0.02, 0.005, 5000), np.nan)
    return scenario_figures.distribution(values, today=0.021, quantiles={"median": 0.02})


def _one_value():
    return scenario_figures.distribution(np.array([0.02]), today=0.02, quantiles={"median": 0.02})


def _joint():
    other = np.geomspace(0.003, 0.04, 21)
    rates = 150 / STAKE[:, None] ** 0.5 + 1e6 * other / STAKE[:, None]
    look = {"other_label": "median, ETH", "log_other": True, "today": (42e6, 0.011)}
    return scenario_figures.heat_map(STAKE, other, rates, **look)


def _waits():
    return figures.waits({"Entry": {"in the queue": 39.0, "sweep": 0.0}, "Exit": {"in the queue": 1.0, "sweep": 4.0}})


def _density():
    return block_value_figures.density(_payments(), LogNormal(log_mean=-3.0, log_std=0.9))


def _tail():
    return block_value_figures.tail(_payments(), LogNormal(log_mean=-3.0, log_std=0.9))


def _payments():
    payments = np.exp(np.random.default_rng(2).normal(-3.0, 1.0, 3000))
    payments[:2] = 0.0, np.nan
    return payments


CASES = {
    "breakdown": (_breakdown, ["Target votes", "Net APR", "2.62%", "% of effective balance per year"]),
    "losses": (_losses, ["Running costs", "−2.00%", "−1.00%"]),
    "tornado": (_tornado, ["Stake", "20 M", "80 M", "base 3.00%", "% per year"]),
    "stake": (_stake, ["here", "million ETH", "% per year"]),
    "distribution": (_distribution, ["median", "2.00%", "this scenario 2.10%", "% per year"]),
    "one value": (_one_value, ["this scenario 2.00%"]),
    "joint": (_joint, ["this scenario", "million ETH", "median, ETH", "% per year"]),
    "waits": (_waits, ["39.0 days", "5.0 days", "in the queue", "days"]),
    "density": (_density, ["payment per block, ETH", "fitted lognormal"]),
    "tail": (_tail, ["payment per block, ETH", "share of blocks that pay more"]),
}


@pytest.mark.parametrize("name", CASES)
def test_svg_is_complete_and_the_same_again(name):
    draw, words = CASES[name]
    content = style.svg(draw())
    text = "\n".join("".join(node.itertext()) for node in ElementTree.fromstring(content).iter() if "text" in node.tag)
    for word in words:
        assert word in text
    assert b"nan" not in content.replace(b"nance", b"")
    assert style.svg(draw()) == content


def test_settings_of_the_caller_stay():
    before = dict(matplotlib.rcParams)
    style.svg(_breakdown())
    assert dict(matplotlib.rcParams) == before


def test_pyplot_stays_out():
    import subprocess
    import sys

    code = (
        "import sys; from jaxstake.report import figures, style\n"
        "from jaxstake.economy.apr import apr; from jaxstake.economy.scenario import Scenario\n"
        "style.svg(figures.breakdown(apr(Scenario()))); print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_distribution_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no scenario is valid"):
        scenario_figures.distribution(np.array([np.nan]), today=0.02, quantiles={})
