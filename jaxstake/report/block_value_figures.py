"""Figures of payments to proposers beside the distribution fitted to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxstake.economy import block_value
from jaxstake.report.style import ACCENT, ACCENT_PALE, CONTRAST, MUTED, canvas, percent, percent_ticks, style


def density(payments_eth: np.ndarray, distribution: Any) -> Figure:
    """Histogram of payments on a logarithmic axis beside a fitted density.

    Args:
        payments_eth: [B] payments, ETH; what is not above 0 is left out.
        distribution: a block-value distribution.
    """
    paid = _paid(payments_eth)
    low, high = np.quantile(paid, [0.0005, 0.9995])
    edges = np.geomspace(low, high, 71)
    counts, _ = np.histogram(paid, edges)
    grid = np.geomspace(low, high, 300)
    width = np.log(edges[1] / edges[0])
    fitted = np.exp(np.asarray(block_value.log_density(distribution, value=grid))) * grid * width
    with style():
        figure, (axes,) = canvas(height=3.4)
        heights = counts / paid.size
        axes.stairs(heights, edges, fill=True, color=ACCENT_PALE)
        axes.stairs(heights, edges, color=ACCENT, linewidth=1.0, label="payments")
        axes.plot(grid, fitted, color=CONTRAST, label="fitted lognormal")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlim(low, high)
        axes.set_ylim(0.0, None)
        axes.set_xlabel("payment per block, ETH")
        axes.set_ylabel("share of paid blocks per bin")
        axes.legend(frameon=False, loc="upper right")
        percent_ticks(axes.yaxis, 0)
    return figure


def tail(payments_eth: np.ndarray, distribution: Any) -> Figure:
    """Share of blocks that pay more than an amount, on logarithmic axes, beside the fitted one.

    Arguments as for `density`.
    """
    paid = np.sort(_paid(payments_eth))
    above = 1.0 - np.arange(paid.size) / paid.size
    grid = np.geomspace(np.median(paid), paid[-1], 300)
    fitted = 1.0 - np.asarray(block_value.cdf(distribution, value=grid))
    shown = np.unique(np.geomspace(1, paid.size, 600).astype(int)) - 1
    points = paid.size - 1 - shown
    with style():
        figure, (axes,) = canvas(height=3.4)
        axes.plot(paid[points], above[points], ".", color=ACCENT, markersize=4, label="payments")
        axes.plot(grid, fitted, color=CONTRAST, label="fitted lognormal")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(np.median(paid), 1.3 * paid[-1])
        axes.set_ylim(0.5 / paid.size, 1.0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_major_formatter(lambda value, _: percent(value, max(0, int(-np.floor(np.log10(value))) - 2)))
        axes.set_xlabel("payment per block, ETH, from the median up")
        axes.set_ylabel("share of blocks that pay more")
        axes.grid(color=MUTED, alpha=0.25)
        axes.legend(frameon=False, loc="upper right")
    return figure


def _paid(payments_eth: np.ndarray) -> np.ndarray:
    payments = np.asarray(payments_eth, dtype=float)
    return payments[payments > 0]
