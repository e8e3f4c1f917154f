"""The figure of a calibrated minimum stake: what each term wants, and how the best minimum depends on the weights."""

from __future__ import annotations

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from jaxstake.calibration.min_stake import MinimumStakeCalibration
from jaxstake.microstaking.welfare import Weights
from jaxstake.report.style import ACCENT, ACCENT_LIGHT, CONTRAST, INK, MUTED, SEQUENTIAL, WIDTH, style

_LABELS = ("security", "decentralisation", "liquidity", "load", "wait")
_LINES = ((ACCENT, "-"), (ACCENT_LIGHT, "-"), (CONTRAST, "-"), (MUTED, "-"), (MUTED, ":"))
_TICKS = (1, 2, 4, 8, 16, 32, 64)


def trade_off(found: MinimumStakeCalibration, *, weights: Weights) -> Figure:
    """Terms and welfare over static minima, and the best static minimum over the weights.

    Args:
        found: a calibration.
        weights: those that it was made for.
    """
    with style():
        figure = Figure(figsize=(WIDTH, 7.6), layout="constrained")
        upper, lower = figure.subplots(2, 1)
        _terms(upper, found, weights)
        _surface(lower, found)
    return figure


def _terms(axes: Axes, found: MinimumStakeCalibration, weights: Weights) -> None:
    minima, scaled = found.surface.minimum_eth, _scaled(found)
    for row, name, (color, line) in zip(scaled, _LABELS, _LINES, strict=True):
        axes.plot(minima, row, color=color, linestyle=line, linewidth=1.6, label=name)
    total = np.asarray(jax.tree.leaves(weights), dtype=float) @ scaled
    axes.plot(minima, total, color=INK, linewidth=2.6, label="welfare")
    static = float(found.judged["best static"].policy.base_eth)
    axes.axvline(static, color=INK, linewidth=0.9, linestyle="--")
    axes.annotate(
        f"best static {static:.3g} ETH",
        (static, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-4, -3),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=9,
    )
    axes.axhline(0.0, color=MUTED, linewidth=0.6)
    _stake_axis(axes, minima)
    axes.set_xlabel("static minimum stake, ETH")
    axes.set_ylabel("change from 32 ETH, in ranges of the term")
    axes.legend(frameon=False, fontsize=9, ncols=6, loc="lower left", bbox_to_anchor=(-0.02, 1.0), columnspacing=1.0)


def _surface(axes: Axes, found: MinimumStakeCalibration) -> None:
    """The best minimum, the weight beside load and liquidity being shared by security and decentralisation."""
    scaled, minima = _scaled(found), found.surface.minimum_eth
    shares = np.linspace(0.0, 1.0, 81)
    load, liquidity = np.meshgrid(shares, shares)
    rest = 1.0 - load - liquidity
    weights = np.stack([0.5 * rest, 0.5 * rest, liquidity, load, np.zeros_like(load)], axis=-1)
    best = np.argmax(weights @ scaled, axis=-1)
    outside = rest < -1e-9
    shown = np.ma.array(np.log2(minima[best]), mask=outside)
    image = axes.pcolormesh(shares, shares, shown, cmap=SEQUENTIAL, shading="nearest", rasterized=True)
    bar = axes.figure.colorbar(image, ax=axes, ticks=np.log2(_TICKS))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{2**value:g}"))
    bar.set_label("best static minimum, ETH")
    corner = np.ma.array(np.isin(best, (0, minima.size - 1)).astype(float), mask=outside)
    axes.contourf(shares, shares, corner, levels=[0.5, 1.5], colors="none", hatches=["//"]).set_edgecolor(ACCENT_LIGHT)
    axes.annotate("hatched: at a limit", (0.98, 0.95), xycoords="axes fraction", ha="right", fontsize=9, color=MUTED)
    axes.set_xlabel("weight of network load")
    axes.set_ylabel("weight of liquidity")


def _scaled(found: MinimumStakeCalibration) -> np.ndarray:
    """[5, G] terms from their origin, in their ranges."""
    rows = []
    for values, start, unit in zip(
        *(jax.tree.leaves(part) for part in (found.surface.terms, found.scale.origin, found.scale.ranges)), strict=True
    ):
        rows.append((np.asarray(values) - float(start)) / float(unit) if float(unit) > 0 else 0.0 * np.asarray(values))
    return np.stack(rows)


def _stake_axis(axes: Axes, minima: np.ndarray) -> None:
    axes.set_xscale("log")
    axes.set_xlim(minima[0], minima[-1])
    axes.set_xticks([tick for tick in _TICKS if minima[0] * 0.999 <= tick <= minima[-1] * 1.001])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
