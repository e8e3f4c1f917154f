"""Figures of luck: the spread of yearly returns by the number of validators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxstake.report.style import ACCENT, ACCENT_LIGHT, ACCENT_PALE, CONTRAST, INK, MUTED, canvas, percent_ticks, style

_LOOKS = ((CONTRAST, "-"), (MUTED, "--"), (ACCENT_LIGHT, "-."), (ACCENT, "-"), (INK, ":"))


def chances(returns: np.ndarray, curves: Mapping[str, np.ndarray], *, mean: float) -> Figure:
    """Chance of a lower return, a line per operator, beside the mean that all share.

    Args:
        returns: [N] returns per year, ascending.
        curves: by name, at most five: [N] chance of at most each return.
        mean: the mean return.
    """
    with style():
        figure, (axes,) = canvas(height=3.6)
        for (name, curve), (color, dash) in zip(curves.items(), _LOOKS, strict=False):
            axes.plot(returns, curve, color=color, linestyle=dash, label=name)
        axes.axvline(mean, color=INK, linewidth=0.8)
        axes.annotate("mean of all", (mean, 0.03), xytext=(5, 0), textcoords="offset points", fontsize=9, color=MUTED)
        axes.set_xlim(returns[0], returns[-1])
        axes.set_ylim(0.0, 1.0)
        percent_ticks(axes.xaxis, 1)
        percent_ticks(axes.yaxis, 0)
        axes.set_xlabel("return in a year, % of the stake")
        axes.set_ylabel("chance of less")
        axes.grid(color=MUTED, alpha=0.2)
        axes.legend(frameon=False, loc="lower right")
    return figure


def by_size(sizes: Sequence[float], quantiles: Mapping[float, np.ndarray], *, mean: float) -> Figure:
    """Median return and its spread by the number of pooled validators.

    Args:
        sizes: [K] numbers of validators.
        quantiles: [K] returns by level; 0.05, 0.25, 0.5, 0.75 and 0.95 are drawn.
        mean: the mean return, the same for every size.
    """
    with style():
        figure, (axes,) = canvas(height=3.6)
        axes.fill_between(sizes, quantiles[0.05], quantiles[0.95], color=ACCENT_PALE, label="nine years in ten")
        axes.fill_between(sizes, quantiles[0.25], quantiles[0.75], color=ACCENT_LIGHT, label="every other year")
        axes.plot(sizes, quantiles[0.5], color=ACCENT, label="median")
        axes.axhline(mean, color=CONTRAST, linewidth=1.2, linestyle="--", label="mean")
        axes.set_xscale("log")
        axes.set_xlim(sizes[0], sizes[-1])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        percent_ticks(axes.yaxis, 1)
        axes.set_xlabel("validators pooled")
        axes.set_ylabel("return in a year, %")
        axes.legend(frameon=False)
    return figure
