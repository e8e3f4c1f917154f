"""Figures of an APR over many scenarios: against stake, jointly with another quantity, and as a distribution.

Every function takes results and returns a new `matplotlib.figure.Figure`; `jaxstake.report.style.svg` saves it.
Rates are fractions per year, labelled in percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from jaxstake.report.style import (
    ACCENT,
    ACCENT_LIGHT,
    ACCENT_PALE,
    CONTRAST,
    INK,
    MUTED,
    SEQUENTIAL,
    canvas,
    millions_ticks,
    percent,
    percent_ticks,
    style,
)


def against_stake(
    stake_eth: np.ndarray, lines: Mapping[str, np.ndarray], marks: Sequence[tuple[str, float, float]]
) -> Figure:
    """APR against total stake, each line named at its right end.

    Args:
        stake_eth: [N] total stake, ETH, increasing.
        lines: [N] rates by name; the first is drawn strongest.
        marks: points to name: (words, stake in ETH, rate); the first is named above the lines.
    """
    looks = ((ACCENT, "-", 2.4), (ACCENT_LIGHT, "-", 1.8), (MUTED, (0, (4, 2)), 1.4))
    with style():
        figure, (axes,) = canvas(height=3.9)
        for (name, rates), (color, dash, width) in zip(lines.items(), looks, strict=False):
            axes.plot(stake_eth, rates, color=color, linestyle=dash, linewidth=width, label=name)
        for number, (words, stake, rate) in enumerate(marks):
            above = number == 0
            if above:
                axes.plot(stake, rate, "o", color=INK, markersize=5, zorder=6)
            else:
                axes.plot(stake, rate, "D", color=CONTRAST, markerfacecolor="white", markersize=8, zorder=5)
            axes.annotate(
                words,
                (stake, rate),
                xytext=(14, 26 if above else -34),
                textcoords="offset points",
                ha="left" if above else "right",
                va="center",
                fontsize=9.5,
                arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkB": 4},
            )
        axes.set_xlim(stake_eth[0], stake_eth[-1])
        axes.set_ylim(0.75 * min(float(np.nanmin(rates)) for rates in lines.values()), None)
        axes.set_xlabel("total stake, million ETH")
        axes.set_ylabel("APR, % per year")
        axes.grid(axis="y")
        axes.legend(frameon=False, loc="upper right")
        millions_ticks(axes.xaxis)
        percent_ticks(axes.yaxis)
    return figure


def distribution(values: np.ndarray, *, today: float, quantiles: Mapping[str, float]) -> Figure:
    """Histogram and cumulative share of a rate over many scenarios.

    Args:
        values: rates; NaN is left out.
        today: the base scenario's, marked.
        quantiles: levels to mark, as words and value.
    """
    valid = np.sort(np.asarray(values, dtype=float)[~np.isnan(values)])
    if not valid.size:
        raise ValueError("no scenario is valid, so that there is no distribution to draw")
    spread = valid[-1] > valid[0]
    ends = (valid[0], valid[-1]) if spread else (valid[0] - 5e-4, valid[0] + 5e-4)
    with style():
        figure, (top, bottom) = canvas(height=4.9, rows=2, height_ratios=[3.0, 2.0])
        counts, edges = np.histogram(valid, bins=int(np.clip(np.sqrt(valid.size), 5, 90)), range=ends)
        shares = counts / valid.size
        top.stairs(shares, edges, fill=True, color=ACCENT_PALE)
        top.stairs(shares, edges, color=ACCENT, linewidth=1.2)
        top.set_ylim(0.0, 1.22 * shares.max())
        for words, value in quantiles.items() if spread else ():
            top.plot([value] * 2, [0.0, 1.05 * shares.max()], color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
            look = {"ha": "center", "va": "bottom", "fontsize": 9}
            top.text(value, 1.07 * shares.max(), f"{words}\n{percent(value)}", **look)
        top.set_ylabel("share of scenarios\nper bin")
        percent_ticks(top.yaxis)
        _accumulated(bottom, valid, np.linspace(*ends, 400), today)
    return figure


def _accumulated(axes: Axes, valid: np.ndarray, grid: np.ndarray, today: float) -> None:
    """Share of sorted rates at or below each point of a grid, with the base scenario marked."""
    axes.plot(grid, np.searchsorted(valid, grid, side="right") / valid.size, color=ACCENT)
    below = float(np.mean(valid < today))
    axes.plot(today, below, "o", color=INK, markersize=6, zorder=5)
    words = f"this scenario {percent(today)},\nabove {percent(below, 0)} of them"
    axes.annotate(words, (today, below), xytext=(10, -6), textcoords="offset points", va="top", fontsize=9.5)
    axes.set_ylim(0.0, 1.02)
    axes.set_ylabel("share at or below")
    axes.set_xlabel("net APR, % per year")
    axes.grid(axis="y")
    percent_ticks(axes.yaxis, 0)
    percent_ticks(axes.xaxis)


def heat_map(
    stake_eth: np.ndarray,
    other: np.ndarray,
    rates: np.ndarray,
    *,
    other_label: str,
    log_other: bool,
    today: tuple[float, float],
) -> Figure:
    """A rate over total stake and one more quantity, with lines of equal rate.

    Args:
        stake_eth: [N] total stake, ETH.
        other: [M] the other quantity.
        rates: [N, M] rates.
        other_label: axis label of the other quantity, with its unit.
        log_other: whether its axis is logarithmic.
        today: the base scenario: stake in ETH and the other quantity.
    """
    with style():
        figure, (axes,) = canvas(height=4.3)
        mesh = axes.pcolormesh(stake_eth, other, rates.T, cmap=SEQUENTIAL, shading="gouraud", rasterized=True)
        levels = MaxNLocator(8).tick_values(float(np.nanmin(rates)), float(np.nanmax(rates)))
        axes.contour(stake_eth, other, rates.T, levels=levels, colors="white", linewidths=0.9)
        _name_contours(axes, stake_eth, other, rates, levels)
        axes.plot(*today, "o", color=CONTRAST, markeredgecolor="white", markersize=9)
        axes.annotate("this scenario", today, xytext=(9, 7), textcoords="offset points", fontsize=9.5)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        if log_other:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set(major_formatter=lambda value, _: f"{value:g}", minor_locator=NullLocator())
        axes.set(xlabel="total stake, million ETH", ylabel=other_label)
        millions_ticks(axes.xaxis)
        bar = figure.colorbar(mesh, ax=axes, aspect=30, pad=0.02)
        bar.ax.set_ylabel("net APR, % per year")
        percent_ticks(bar.ax.yaxis)
    return figure


def _name_contours(
    axes: Axes, stake_eth: np.ndarray, other: np.ndarray, rates: np.ndarray, levels: Sequence[float]
) -> None:
    """Name the lines of equal rate where they cross the upper part of the map, in words that stand upright."""
    place = int(0.86 * (len(other) - 1))
    row, log_stake = rates[:, place], np.log(stake_eth)
    apart = 0.07 * (log_stake[-1] - log_stake[0])
    free = log_stake[-1] - 0.5 * apart
    for level in levels:
        if row.min() < level < row.max():
            at = np.interp(-level, -row, log_stake)  # the rate falls with the stake
            if log_stake[0] + 0.5 * apart < at <= free:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.85}
                look = {"fontsize": 8.5, "ha": "center", "va": "center", "bbox": box}
                axes.text(np.exp(at), other[place], percent(level, 1), **look)
                free = at - apart
