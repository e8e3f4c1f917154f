"""Figures of families of block values fitted to payments: density, tail, probability plot and quantile plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jaxstake.economy import block_value
from jaxstake.report.style import ACCENT, ACCENT_LIGHT, ACCENT_PALE, CONTRAST, INK, MUTED, WIDTH, percent, style

_LOOKS = ((CONTRAST, "--"), (ACCENT, "-"), (MUTED, "-."), (INK, ":"), (ACCENT_LIGHT, (0, (5, 1))))
"""Colour and dash of each family, in order."""
SHOWN = 500
"""Points of a line."""


def fitted(payments_eth: np.ndarray, distributions: Mapping[str, Any], *, chosen: str | None = None) -> Figure:
    """Payments beside the families fitted to them, in four panels.

    Above, the density of the logarithm and the share of blocks that pay more than an amount; below, the probability
    plot (fitted against observed share, less the observed) and the quantile plot (fitted quantile over observed).

    Args:
        payments_eth: [B] payments, ETH; what is not above 0 is left out.
        distributions: families by the name to show, at most five.
        chosen: name of the one drawn in full strength; all are if not given.

    Raises:
        ValueError: there are more than five families.
    """
    if len(distributions) > len(_LOOKS):
        raise ValueError(f"distributions must be at most {len(_LOOKS)}, got {len(distributions)}")
    payments = np.asarray(payments_eth, dtype=float)
    paid = np.sort(payments[payments > 0])
    with style():
        figure = Figure(figsize=(1.35 * WIDTH, 6.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(2, 2).ravel()
        for draw, axes in zip((_density, _tail, _probability, _quantiles), panels, strict=True):
            draw(axes, paid)
            for (name, distribution), (color, dash) in zip(distributions.items(), _LOOKS, strict=False):
                strong = chosen is None or name == chosen
                look = {"color": color, "linestyle": dash, "linewidth": 2.0 if strong else 1.2, "label": name}
                _LINES[draw.__name__](axes, paid, distribution, look)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def _density(axes: Axes, paid: np.ndarray) -> None:
    low, high = np.quantile(paid, [0.0005, 0.9995])
    edges = np.geomspace(low, high, 61)
    counts, _ = np.histogram(paid, edges)
    heights = counts / paid.size / np.log(edges[1] / edges[0])
    axes.stairs(heights, edges, fill=True, color=ACCENT_PALE, label="payments")
    axes.set_xscale("log")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0.0, 1.2 * float(heights.max()))
    _amounts(axes, "payment, ETH")
    axes.set_ylabel("density of its logarithm")


def _tail(axes: Axes, paid: np.ndarray) -> None:
    shown = np.unique(np.geomspace(1, paid.size, SHOWN).astype(int)) - 1
    axes.plot(paid[paid.size - 1 - shown], (shown + 0.5) / paid.size, ".", color=INK, markersize=3)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(np.median(paid), 1.3 * paid[-1])
    axes.set_ylim(0.3 / paid.size, 0.7)
    axes.yaxis.set_major_formatter(lambda value, _: percent(value, max(0, int(-np.floor(np.log10(value))) - 2)))
    _amounts(axes, "payment, ETH (dots: observed)")
    axes.set_ylabel("share of blocks that pay more")


def _probability(axes: Axes, paid: np.ndarray) -> None:
    del paid
    axes.axhline(0.0, color=INK, linewidth=0.8)
    axes.set_xlim(0.0, 1.0)
    axes.xaxis.set_major_formatter(lambda value, _: percent(value, 0))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}")
    axes.set_xlabel("observed share of blocks up to an amount")
    axes.set_ylabel("fitted less observed, points")


def _quantiles(axes: Axes, paid: np.ndarray) -> None:
    axes.axhline(1.0, color=INK, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(paid[0], paid[-1])
    axes.set_ylim(0.05, 20.0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _amounts(axes, "observed quantile, ETH")
    axes.set_ylabel("fitted quantile over it")


def _amounts(axes: Axes, label: str) -> None:
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(label)


def _density_line(axes: Axes, paid: np.ndarray, distribution: Any, look: dict[str, Any]) -> None:
    low, high = np.quantile(paid, [0.0005, 0.9995])
    grid = np.geomspace(low, high, SHOWN)
    logs = np.asarray(block_value.log_density(distribution, value=jnp.asarray(grid, float)))
    axes.plot(grid, np.exp(logs) * grid, **look)


def _tail_line(axes: Axes, paid: np.ndarray, distribution: Any, look: dict[str, Any]) -> None:
    grid = np.geomspace(np.median(paid), 1.3 * paid[-1], SHOWN)
    axes.plot(grid, np.asarray(block_value.survival(distribution, value=jnp.asarray(grid, float))), **look)


def _probability_line(axes: Axes, paid: np.ndarray, distribution: Any, look: dict[str, Any]) -> None:
    places = np.unique(np.linspace(0, paid.size - 1, SHOWN).astype(int))
    observed = (places + 0.5) / paid.size
    chance = np.asarray(block_value.cdf(distribution, value=jnp.asarray(paid[places], float)))
    axes.plot(observed, chance - observed, **look)


def _quantile_line(axes: Axes, paid: np.ndarray, distribution: Any, look: dict[str, Any]) -> None:
    top = np.arange(max(0, paid.size - 50), paid.size)
    places = np.union1d(np.unique(np.linspace(0, paid.size - 1, SHOWN).astype(int)), top)
    level = (places + 0.5) / paid.size
    ratio = np.asarray(block_value.quantile(distribution, level=jnp.asarray(level, float))) / paid[places]
    axes.plot(paid[places], ratio, **look)


_LINES = {
    "_density": _density_line,
    "_tail": _tail_line,
    "_probability": _probability_line,
    "_quantiles": _quantile_line,
}
