"""How figures look: one accent, restrained axes, text that a page can inherit."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from jaxstake.core.typing import Scalar

# Distinct in lightness as well as in hue, so that they survive grey print and every common colour blindness.
INK = "#1c2733"
MUTED = "#66727f"
RULE = "#d5dce3"
ACCENT = "#0b4f8a"
ACCENT_LIGHT = "#7fb0d8"
ACCENT_PALE = "#dbe9f5"
CONTRAST = "#c8590a"
CONTRAST_PALE = "#f6dcc6"

SEQUENTIAL = LinearSegmentedColormap.from_list("accent", ["#f2f6fa", ACCENT_PALE, ACCENT_LIGHT, ACCENT, "#06294a"])
DIVERGING = LinearSegmentedColormap.from_list("contrast", [CONTRAST, CONTRAST_PALE, "#ffffff", ACCENT_PALE, ACCENT])

WIDTH = 6.4
"""Width of every figure, inches."""

_SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 10.0,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "jaxstake",
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The look of the report, for figures drawn and saved inside this block; the caller's settings return after."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def canvas(*, height: float, rows: int = 1, height_ratios: list[float] | None = None) -> tuple[Figure, list[Axes]]:
    """A figure of the page's width with `rows` axes above each other, apart from any global figure state.

    Args:
        height: inches; the width is `WIDTH`.
        rows: number of axes, sharing x.
        height_ratios: relative heights of the rows.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=height_ratios)
    return figure, list(grid[:, 0])


def svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def percent(value: Scalar, digits: int = 2) -> str:
    """A fraction as a percentage with a true minus sign and no negative zero.

    Example:
        >>> percent(0.026201), percent(-0.00001), percent(-0.012, 1)
        ('2.62%', '0.00%', '−1.2%')
    """
    text = f"{100.0 * float(value):.{digits}f}"
    if float(text) == 0.0:
        text = text.removeprefix("-")
    return text.replace("-", "\N{MINUS SIGN}") + "%"


def small_percent(value: float) -> str:
    """A fraction as a percentage with two decimals, or one digit that is not zero where that takes more.

    Example:
        >>> small_percent(0.0262), small_percent(-1.6e-7), small_percent(0.0)
        ('2.62%', '−0.00002%', '0.00%')
    """
    if value == 0 or abs(value) >= 5e-5:
        return percent(value)
    return percent(value, int(-math.floor(math.log10(abs(100.0 * value)))))


def number(value: float, digits: int = 4) -> str:
    """A number with `digits` significant digits, thousands separated, powers of ten only where they are shorter.

    Example:
        >>> number(42_228_608.0), number(0.9965), number(8.3e-5), number(-4.50986)
        ('42,230,000', '0.9965', '8.3e−05', '−4.51')
    """
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    size = abs(rounded)
    text = f"{rounded:,.0f}" if size >= 10**digits else f"{rounded:,.{digits}g}"
    return text.replace("-", "\N{MINUS SIGN}")


def percent_ticks(axis: Any, digits: int = 1) -> None:
    """Label an axis of fractions in percent."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: percent(value, digits)))


def millions_ticks(axis: Any) -> None:
    """Label an axis of ETH in millions."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:g}"))
