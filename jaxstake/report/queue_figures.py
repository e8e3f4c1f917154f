"""Figures of a withdrawal queue: who waits how long first in, first out and under a priority."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jaxstake.report.style import (
    ACCENT,
    ACCENT_LIGHT,
    CONTRAST,
    MUTED,
    WIDTH,
    number,
    percent,
    style,
)

_LOOKS = ((CONTRAST, "#e0a679", "--"), (ACCENT, ACCENT_LIGHT, "-"))
"""Colours and dash of the first order and of the second."""


def waits_by_size(
    amounts: np.ndarray, waits: Mapping[str, np.ndarray], *, bound: float | None = None, bins: int = 24
) -> Figure:
    """Median wait by size of the request and 95th percentile; below, the tail of the waits.

    Args:
        amounts: [N] requests, ETH, > 0.
        waits: one or two orders by name, [N] days each.
        bound: wait that no request can exceed under the second, days.
        bins: number of sizes, each with as many requests.
    """
    with style():
        figure, (above, below) = _two(height=6.2)
        _sizes(above, np.asarray(amounts, dtype=float), waits, bins)
        _tail(below, waits, bound)
    return figure


def _two(*, height: float) -> tuple[Figure, list[Axes]]:
    """Two axes above each other that share nothing."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(2, 1))


def _sizes(axes: Axes, amounts: np.ndarray, waits: Mapping[str, np.ndarray], bins: int) -> None:
    edges = np.quantile(amounts, np.linspace(0.0, 1.0, bins + 1))
    place = np.clip(np.searchsorted(edges, amounts, side="right") - 1, 0, bins - 1)
    filled = [group for group in range(bins) if np.any(place == group)]
    sizes = [float(np.median(amounts[place == group])) for group in filled]
    for (name, values), (line, pale, dash) in zip(waits.items(), _LOOKS, strict=False):
        found = np.asarray(values, dtype=float)
        middle, high = np.array([np.quantile(found[place == g], [0.5, 0.95]) for g in filled]).T
        axes.plot(sizes, high, dash, color=pale, linewidth=1.4, label=f"{name}: one in twenty waits longer")
        axes.plot(sizes, middle, dash, color=line, label=f"{name}: median")
    axes.set_xscale("log")
    if len(sizes) > 1:
        axes.set_xlim(sizes[0], sizes[-1])
    axes.set_ylim(0.0, 1.3 * axes.get_ylim()[1])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("size of the request, ETH")
    axes.set_ylabel("wait, days")
    axes.legend(frameon=False, loc="upper left", ncols=2, fontsize=9)


def _tail(axes: Axes, waits: Mapping[str, np.ndarray], bound: float | None) -> None:
    lowest = 0.5
    for (name, values), (color, _, dash) in zip(waits.items(), _LOOKS, strict=False):
        ordered = np.sort(np.asarray(values, dtype=float))
        shown = np.unique(np.linspace(0, ordered.size - 1, 1000).astype(int))
        shown = np.union1d(shown, np.arange(max(0, ordered.size - 200), ordered.size))
        above = 1.0 - shown / ordered.size
        lowest = min(lowest, float(above[-1]))
        axes.plot(ordered[shown], above, dash, color=color, label=name)
    if bound is not None:
        axes.axvline(bound, color=MUTED, linewidth=1.0)
        text = f"no wait exceeds {number(bound, 3)} days"
        axes.annotate(text, (bound, 0.5), xytext=(-5, 0), textcoords="offset points", ha="right", color=MUTED)
    axes.set_yscale("log")
    axes.set_ylim(0.7 * lowest, 1.0)
    axes.set_xlim(0.0, None)
    axes.yaxis.set_major_formatter(lambda value, _: percent(value, max(0, int(-np.floor(np.log10(value))) - 2)))
    axes.set_xlabel("wait, days")
    axes.set_ylabel("share that waits longer")
    axes.grid(color=MUTED, alpha=0.2)
    axes.legend(frameon=False, loc="lower left")
