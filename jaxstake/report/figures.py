"""Figures of one scenario: the parts of its APR, what moves it, and its queues.

Every function takes results and returns a new `matplotlib.figure.Figure`; `jaxstake.report.style.svg` saves it.
Rates are fractions per year, labelled in percent.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxstake.economy.apr import Apr
from jaxstake.report.style import (
    ACCENT,
    ACCENT_LIGHT,
    CONTRAST,
    INK,
    MUTED,
    RULE,
    canvas,
    percent,
    percent_ticks,
    small_percent,
    style,
)

_PARTS = {
    "target": "Target votes",
    "source": "Source votes",
    "head": "Head votes",
    "proposer": "Block proposals",
    "sync": "Sync committee",
    "missed": "Missed duties",
    "mev": "Block value (MEV, tips)",
    "tips": "Tips outside it",
    "slashing": "Slashing",
    "leak": "Inactivity leak",
    "costs": "Running costs",
    "commission": "Commission",
}
_EXECUTION = ("mev", "tips")


def breakdown(rate: Apr) -> Figure:
    """How the parts of an APR add up: a waterfall from the first reward to the net rate.

    Parts that are zero are left out.
    """
    parts = {name: float(getattr(rate, name)) for name in _PARTS}
    shown = {name: value for name, value in parts.items() if value != 0.0}
    with style():
        figure, (axes,) = canvas(height=0.9 + 0.36 * (len(shown) + 1))
        at = np.concatenate([[0.0], np.cumsum(list(shown.values()))])
        span = max(at.max() - min(at.min(), 0.0), 1e-6)
        for row, (name, value) in enumerate(shown.items()):
            color = CONTRAST if value < 0 else ACCENT_LIGHT if name in _EXECUTION else ACCENT
            axes.barh(row, value, left=at[row], color=color, height=0.68)
            axes.plot([at[row + 1]] * 2, [row - 0.34, row + 1.34], color=MUTED, linewidth=0.6)
            _beside_bar(axes, max(at[row], at[row + 1]), row, small_percent(value))
        net = float(rate.net)
        axes.barh(len(shown), net, color=INK, height=0.68)
        _beside_bar(axes, max(net, 0.0), len(shown), percent(net), weight="bold")
        axes.set_yticks(range(len(shown) + 1), [*(_PARTS[name] for name in shown), "Net APR"])
        axes.set_ylim(len(shown) + 0.6, -0.6)
        axes.set_xlim(min(at.min(), 0.0), at.max() + 0.12 * span)
        axes.set_xlabel("cumulative APR, % of effective balance per year")
        percent_ticks(axes.xaxis)
        _plain_rows(axes)
    return figure


def tornado(ends: Mapping[str, tuple[str, str, float, float]], *, base: float) -> Figure:
    """The net APR with one leaf at a time at the ends of its range.

    Args:
        ends: by label: the low and the high value in words, and the APR at each.
        base: APR with all leaves at the base.
    """
    with style():
        figure, (axes,) = canvas(height=1.0 + 0.56 * len(ends))
        rates = np.array([pair for *_, low, high in ends.values() for pair in (low, high)] + [base])
        span = np.nanmax(rates) - np.nanmin(rates)
        for row, (low_text, high_text, low, high) in enumerate(ends.values()):
            for text, rate, other, color in ((low_text, low, high, ACCENT_LIGHT), (high_text, high, low, ACCENT)):
                axes.barh(row, rate - base, left=base, color=color, height=0.56)
                right = rate >= other
                axes.annotate(
                    text,
                    (max(rate, base) if right else min(rate, base), row),
                    xytext=(5 if right else -5, 0),
                    textcoords="offset points",
                    ha="left" if right else "right",
                    va="center",
                    fontsize=9,
                    color=MUTED,
                )
        axes.axvline(base, color=INK, linewidth=1.0)
        above = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center", "fontsize": 9.5}
        axes.annotate(f"base {percent(base)}", (base, -0.5), **above)
        axes.set_yticks(range(len(ends)), list(ends))
        axes.set_ylim(len(ends) - 0.4, -0.6)
        axes.set_xlim(np.nanmin(rates) - 0.24 * span, np.nanmax(rates) + 0.24 * span)
        axes.set_xlabel("net APR, % per year; pale: low end of the range, dark: high end")
        percent_ticks(axes.xaxis)
        _plain_rows(axes)
    return figure


def waits(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """Waiting times by cause, days, as stacked bars.

    Args:
        rows: by queue, then by cause; causes of zero days are left out.
    """
    causes = list(dict.fromkeys(cause for row in rows.values() for cause, days in row.items() if days > 0))
    shades = dict(zip(causes, (ACCENT, ACCENT_LIGHT, MUTED, CONTRAST, RULE), strict=False))
    with style():
        figure, (axes,) = canvas(height=1.3 + 0.55 * len(rows))
        for row, parts in enumerate(rows.values()):
            left = 0.0
            for cause in causes:
                days = parts.get(cause, 0.0)
                axes.barh(row, days, left=left, color=shades[cause], height=0.6, label=cause if row == 0 else None)
                left += days
            _beside_bar(axes, left, row, f"{left:.1f} days")
        longest = max(sum(parts.values()) for parts in rows.values())
        axes.set_xlim(0.0, 1.16 * longest)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("days")
        handles = [axes.patches[causes.index(cause)] for cause in causes]
        figure.legend(handles, causes, loc="outside upper left", ncols=len(causes), frameon=False, fontsize=9)
        _plain_rows(axes)
    return figure


def _beside_bar(axes: Axes, x: float, row: int, words: str, weight: str = "normal") -> None:
    look = {"textcoords": "offset points", "ha": "left", "va": "center", "fontsize": 9.5, "fontweight": weight}
    axes.annotate(words, (x, row), xytext=(5, 0), **look)


def _plain_rows(axes: Axes) -> None:
    """Rows that are named need no vertical axis line."""
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
