"""The figures of one study, by the name of their file."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from jaxstake.core import leaves
from jaxstake.protocol.queues import Wait
from jaxstake.report import block_value_figures, figures, scenario_figures
from jaxstake.report.study import Study, joint_leaf
from jaxstake.report.style import number, percent

LABELS = {
    "network.total_stake_eth": "Total stake",
    "block_value.log_mean": "Median block value",
    "validator.uptime": "Uptime",
    "costs.commission": "Commission",
    "network.participation": "Participation",
    "block_value.log_std": "Spread of block value",
    "hazards.slashing_probability": "Slashing a year",
}
"""Short names of the leaves that the report moves."""

_CAUSES = {
    "queue": "in the queue",
    "finality": "finality",
    "lookahead": "lookahead",
    "withdrawability": "fixed delay",
    "sweep": "withdrawal sweep",
}


def draw(study: Study) -> dict[str, Figure]:
    """All figures of a study."""
    found = {
        "breakdown": figures.breakdown(study.rate),
        "tornado": _tornado(study),
        "stake": _stake(study),
        "distribution": _distribution(study),
        "joint": _joint(study),
        "waits": _waits(study),
    }
    if study.fitted is not None:
        payments, fitted = study.fitted.payments.payment_eth, study.fitted.fit.distribution
        found["block_value_density"] = block_value_figures.density(payments, fitted)
        found["block_value_tail"] = block_value_figures.tail(payments, fitted)
    return found


def words(leaf: str, value: float) -> str:
    """A value of a moved leaf in the words of its field.

    Example:
        >>> words("network.total_stake_eth", 21.1e6), words("costs.commission", 0.25)
        ('21.1 M ETH', '25%')
    """
    if leaf == "network.total_stake_eth":
        return f"{value / 1e6:.1f} M ETH"
    if leaf == "block_value.log_mean":
        return f"{number(math.exp(value), 2)} ETH"
    if leaf == "block_value.log_std":
        return f"σ {value:.2f}"
    if leaf == "hazards.slashing_probability":
        return percent(value, 2)
    return f"{100 * value:g}%" if abs(100 * value - round(100 * value)) < 1e-9 else percent(value, 2)


def _tornado(study: Study) -> Figure:
    ends = {}
    for row in range(study.tornado.sizes["leaf"]):
        line = study.tornado.isel(leaf=row)
        leaf = str(line["leaf"].item())
        low, high = (words(leaf, line[end].item()) for end in ("low", "high"))
        ends[LABELS.get(leaf, leaf)] = (low, high, line["output_low"].item(), line["output_high"].item())
    return figures.tornado(ends, base=float(study.rate.net))


def _stake(study: Study) -> Figure:
    curve = study.curve.isel({joint_leaf(study.scenario): study.curve.sizes[joint_leaf(study.scenario)] // 2})
    stake, net = float(study.scenario.network.total_stake_eth), float(study.rate.net)
    lines = {
        "net APR": curve["here.net"].values,
        "consensus layer alone": curve["here.consensus"].values,
        "consensus layer, perfect duties": curve["perfect.consensus"].values,
    }
    stakes, day = curve["network.total_stake_eth"].values, study.day
    marks = [(f"this scenario\n{percent(net)} at {stake / 1e6:.1f} M ETH", stake, net)]
    if stakes[0] < day.total_stake_eth < stakes[-1]:
        text = f"reported {day.date.isoformat()}\n{percent(day.reported_apr)} at {day.total_stake_eth / 1e6:.1f} M ETH"
        marks.append((text, day.total_stake_eth, day.reported_apr))
    return scenario_figures.against_stake(stakes, lines, marks)


def _distribution(study: Study) -> Figure:
    found = study.summary["net"]
    marked = {"5%": found["p5"], "median": found["p50"], "95%": found["p95"]}
    return scenario_figures.distribution(study.swept["net"].values, today=float(study.rate.net), quantiles=marked)


def _joint(study: Study) -> Figure:
    leaf = joint_leaf(study.scenario)
    median = leaf == "block_value.log_mean"
    values, at = study.curve[leaf].values, float(leaves.get(study.scenario, leaf))
    stake = study.curve["network.total_stake_eth"].values
    return scenario_figures.heat_map(
        stake,
        np.exp(values) if median else values,
        study.curve["here.net"].values,
        other_label="median block value, ETH" if median else "uptime, fraction",
        log_other=median,
        today=(float(study.scenario.network.total_stake_eth), math.exp(at) if median else at),
    )


def _waits(study: Study) -> Figure:
    rows = {"Entry": causes(study.entry)}
    if study.leaving is not None:
        rows["Exit"] = causes(study.leaving)
    return figures.waits(rows)


def causes(wait: Wait) -> dict[str, float]:
    """Days by cause, in words."""
    return {text: float(getattr(wait, name)) for name, text in _CAUSES.items()}
