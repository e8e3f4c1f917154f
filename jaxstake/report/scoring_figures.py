"""Figures of fitted validator scores: the weights with their intervals, and how well each score ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxstake.report.style import ACCENT, ACCENT_LIGHT, CONTRAST, INK, MUTED, RULE, WIDTH, canvas, percent, style

_LABELS = {
    "performance": "Performance P",
    "tenure": "Tenure T",
    "reliability": "Reliability R",
    "fit": "Fitted weights",
    "equal": "Equal weights",
}


def weights_and_ranking(
    weights: np.ndarray, intervals: np.ndarray, identified: np.ndarray, ranked: Sequence[Any], *, title: str
) -> Figure:
    """Weights with their intervals beside the AUC of every score on rows that were not fitted.

    Args:
        weights: [3] alpha, beta and gamma.
        intervals: [3, 2] of them; an open circle marks a weight that is not identified.
        identified: [3] whether each is.
        ranked: `jaxstake.calibration.scoring_validation.Ranked` of every score; concordance is shown where no row was
            bad, so that there is no AUC.
        title: what was ranked, for the right axis.
    """
    with style():
        figure = canvas(height=2.9)[0]
        figure.clear()
        figure.set_size_inches(WIDTH, 2.9)
        left, right = figure.subplots(1, 2, width_ratios=[1.0, 1.15])
        _weights(left, weights, intervals, identified)
        _ranking(right, ranked, title)
    return figure


def hazard(found: Any) -> Figure:
    """Chance to leave by tenure, with 95 % intervals, and the share that is still there.

    Args:
        found: `jaxstake.microstaking.scoring_tenure.Hazard`.
    """
    at_risk = np.asarray(found.at_risk)
    shown = np.flatnonzero(at_risk >= 20)
    with style():
        figure, (axes, below) = canvas(height=4.2, rows=2, height_ratios=[1.4, 1.0])
        values, low, high = (np.asarray(x)[shown] for x in (found.hazard, found.low, found.high))
        axes.vlines(shown, low, high, color=ACCENT_LIGHT, linewidth=2.0)
        axes.plot(shown, values, "o", color=ACCENT, markersize=4, clip_on=False)
        axes.set_ylim(0.0, None)
        axes.set_ylabel("leave per interval")
        axes.yaxis.set_major_formatter(lambda value, _: percent(value, 1))
        below.step(shown, np.asarray(found.survival)[shown], where="post", color=INK)
        below.set_ylim(0.0, 1.0)
        below.set_ylabel("still there")
        below.yaxis.set_major_formatter(lambda value, _: percent(value, 0))
        below.set_xlabel("tenure, intervals since first seen (those with 20 or more at risk)")
    return figure


def _weights(axes: Axes, weights: np.ndarray, intervals: np.ndarray, identified: np.ndarray) -> None:
    for row in range(3):
        color = ACCENT if identified[row] else MUTED
        axes.plot(intervals[row], [row, row], color=color, linewidth=2.0)
        face = color if identified[row] else "white"
        axes.plot(weights[row], row, "o", color=color, markerfacecolor=face, markersize=7, clip_on=False, zorder=3)
    axes.set_yticks(range(3), [_LABELS[name] for name in ("performance", "tenure", "reliability")])
    axes.set_ylim(2.5, -0.5)
    axes.set_xlim(-0.04, 1.04)
    axes.set_xlabel("weight, 95 % interval" + ("" if np.all(identified) else "\n(open: not identified)"))
    _plain(axes)


def _ranking(axes: Axes, ranked: Sequence[Any], title: str) -> None:
    classes = all(np.isfinite(one.auc) for one in ranked)
    lowest = 0.5
    for row, one in enumerate(ranked):
        color = CONTRAST if one.name == "fit" else ACCENT
        value = one.auc if classes else one.concordance
        if classes:
            axes.plot([one.auc_low, one.auc_high], [row, row], color=color, linewidth=2.0)
            lowest = min(lowest, one.auc_low)
        lowest = min(lowest, value)
        axes.plot(value, row, "o", color=color, markersize=5, clip_on=False, zorder=3)
    axes.axvline(0.5, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(ranked)), [_LABELS[one.name] for one in ranked])
    axes.set_ylim(len(ranked) - 0.5, -0.5)
    axes.set_xlim(np.floor(lowest * 20.0 - 0.5) / 20.0, 1.0)
    axes.set_xlabel(f"{'AUC, 95 % interval' if classes else 'concordance'}\n{title}")
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.grid(axis="x", color=RULE)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
