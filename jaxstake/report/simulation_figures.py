"""Figures of a simulation: stake, participation, issuance, queues and the spread of incomes, over time in days.

Every function takes all records of a simulation and the days at their ends, and returns a new figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxstake.beacon.records import BURNT, ISSUED, LEVELS, Record
from jaxstake.report.simulation_table import ETH, since_finality
from jaxstake.report.style import (
    ACCENT,
    ACCENT_LIGHT,
    ACCENT_PALE,
    CONTRAST,
    CONTRAST_PALE,
    INK,
    MUTED,
    canvas,
    percent_ticks,
    style,
)

_NAMED = 6
"""Traced validators that the legend names."""
_GAINS = {
    "attestation_rewards": ("attestations", ACCENT_LIGHT),
    "inclusion_rewards": ("attestations included", ACCENT),
    "sync_rewards": ("sync committee", ACCENT_PALE),
    "sync_inclusion_rewards": ("signatures included", "#06294a"),
    "slashing_rewards": ("slashings reported", MUTED),
}
_LOSSES = {
    "inactivity_penalties": ("inactivity leak", CONTRAST),
    "attestation_penalties": ("attestations", "#e0a679"),
    "sync_penalties": ("sync committee", CONTRAST_PALE),
    "slashing_penalties": ("slashing, at once", "#7a3305"),
    "correlation_penalties": ("slashing, correlated", INK),
}


def stake_and_validators(days: np.ndarray, records: Record) -> Figure:
    """Active stake, and the numbers of validators that are active, slashed and on their way out.

    Args:
        days: [R] since the start.
        records: [R].
    """
    with style():
        figure, (above, below) = canvas(height=5.0, rows=2, height_ratios=[1.0, 1.0])
        _shade_leak(above, days, records)
        _line(above, days, np.asarray(records.active_stake) / ETH, color=ACCENT)
        above.set_ylabel("active stake, ETH")
        _numbers(above)
        _legend(above)
        _shade_leak(below, days, records, label=False)
        active = np.asarray(records.active_validators)
        _line(below, days, active, color=ACCENT, label="active")
        for name, color, dash in (("exiting", CONTRAST, "--"), ("slashed", INK, ":")):
            values = np.asarray(getattr(records, f"{name}_validators"))
            if values.any():
                _line(below, days, values, color=color, linestyle=dash, label=name)
        below.set_ylabel("validators")
        below.set_ylim(0.0, 1.1 * float(active.max()))
        _numbers(below)
        _legend(below)
        _finish(below, days)
    return figure


def participation_and_finality(days: np.ndarray, records: Record) -> Figure:
    """Stake that votes for the right target, beside the two thirds that finality needs; below, how long it is ago.

    Args:
        days: [R] since the start.
        records: [R].
    """
    share = np.asarray(records.tally.target_share) / np.asarray(records.tally.epochs)
    lowest = float(share.min())
    with style():
        figure, (above, below) = canvas(height=5.0, rows=2, height_ratios=[1.0, 1.0])
        _shade_leak(above, days, records)
        _line(above, days, share, color=ACCENT)
        if lowest < 0.8:
            above.axhline(2.0 / 3.0, color=CONTRAST, linewidth=1.2, linestyle="--", label="two thirds, for finality")
        above.set_ylim(min(lowest - 0.02, 0.98), 1.0)
        above.set_ylabel("stake with\nthe right target")
        above.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        percent_ticks(above.yaxis, 0 if lowest < 0.95 else 1)
        above.grid(axis="y")
        _legend(above)
        _shade_leak(below, days, records, label=False)
        since = since_finality(records)
        _line(below, days, since, color=ACCENT)
        below.set_ylim(0.0, max(4.0, 1.1 * float(since.max())))
        below.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        below.set_ylabel("epochs since the\nlast final one")
        _numbers(below)
        _finish(below, days)
    return figure


def issuance_and_penalties(days: np.ndarray, records: Record) -> Figure:
    """Rewards above the line and penalties below it, by component, ETH a day.

    Args:
        days: [R] since the start.
        records: [R].
    """
    edges = np.concatenate([[0.0], days])
    tally, width = records.tally, np.diff(edges)

    def daily(name: str) -> np.ndarray:
        values = np.asarray(getattr(tally, name), float)
        if name == "attestation_penalties":  # the leak's part is drawn apart
            values = np.maximum(values - np.asarray(tally.inactivity_penalties, float), 0.0)
        return values / ETH / width

    with style():
        figure, (above, below) = canvas(height=6.2, rows=2, height_ratios=[1.0, 1.0])
        _stack(above, edges, {key: _GAINS[key] for key in ISSUED}, daily)
        above.set_ylabel("rewards, ETH a day")
        _stack(below, edges, {key: _LOSSES[key] for key in ("inactivity_penalties", *BURNT)}, daily)
        below.set_ylabel("penalties, ETH a day")
        below.invert_yaxis()
        _finish(below, days)
    return figure


def queues(days: np.ndarray, records: Record, *, epochs_per_day: float) -> Figure:
    """What waits to enter and to merge, and how far the exits and merges that were asked for reach; what is never, not.

    Args:
        days: [R] since the start.
        records: [R].
        epochs_per_day: of the preset.
    """
    panels = {
        "deposits\nwaiting, ETH": np.asarray(records.pending_deposits_amount) / ETH,
        "merges\nwaiting": np.asarray(records.pending_consolidations, float),
        "wait of the\nnext exit, days": np.asarray(records.exit_wait_epochs) / epochs_per_day,
        "wait of the\nnext merge, days": np.asarray(records.consolidation_wait_epochs) / epochs_per_day,
    }
    shown = {words: values for words, values in panels.items() if values.any()}
    with style():
        figure, every_axes = canvas(height=0.8 + 1.7 * max(len(shown), 1), rows=max(len(shown), 1))
        for axes, (words, values) in zip(every_axes, shown.items(), strict=False):
            axes.fill_between(days, 0.0, values, color=ACCENT_PALE, linewidth=0.0)
            _line(axes, days, values, color=ACCENT, linewidth=1.4)
            axes.set_ylim(0.0, 1.1 * float(values.max()))
            axes.set_ylabel(words)
            _numbers(axes)
        if not shown:
            every_axes[0].text(0.5, 0.5, "nothing waits at any time", transform=every_axes[0].transAxes, ha="center")
            every_axes[0].set_yticks([])
            every_axes[0].spines["left"].set_visible(False)
        figure.align_ylabels()
        _finish(every_axes[-1], days)
    return figure


def income_quantiles(
    days: np.ndarray, records: Record, *, levels: Sequence[float] = LEVELS, rows: Sequence[int] = ()
) -> Figure:
    """Income of validators since the start, consensus and block values, as a fan of quantiles; those who left stay in.

    Args:
        days: [R] since the start.
        records: [R].
        levels: of the quantiles; symmetric, the median in the middle.
        rows: of the traced validators, which are drawn as lines.
    """
    values = np.asarray(records.income_eth, float)
    pairs = [(place, len(levels) - 1 - place) for place in range(len(levels) // 2)]
    colors = ("#e6eef6", "#b9d3ea", ACCENT_LIGHT)
    with style():
        figure, (axes,) = canvas(height=3.9)
        for (low, high), color in zip(pairs, colors, strict=False):
            label = f"{100 * (levels[high] - levels[low]):g} %" + ("" if low else " of validators at the start")
            axes.fill_between(days, values[:, low], values[:, high], color=color, linewidth=0.0, label=label)
        _line(axes, days, values[:, len(levels) // 2], color=ACCENT, label="median")
        _traced(axes, days, records, rows)
        axes.axhline(0.0, color=MUTED, linewidth=0.8)
        axes.set_ylabel("income since the start,\nETH per validator")
        _numbers(axes)
        _finish(axes, days)
        _legend(axes)
    return figure


def _traced(axes: Axes, days: np.ndarray, records: Record, rows: Sequence[int]) -> None:
    """Incomes of the traced validators, the first few with their names."""
    if not rows:
        return
    incomes = sum(np.asarray(records.traced[name], float) for name in ("consensus_income_eth", "execution_income_eth"))
    looks = [(color, dash) for dash in ("-", "--", ":") for color in (CONTRAST, INK, MUTED)]
    for place, (row, values) in enumerate(zip(rows, np.asarray(incomes).T, strict=True)):
        color, dash = looks[place % len(looks)]
        label = f"validator {row:,}" if place < _NAMED else None
        _line(axes, days, values, color=color, linestyle=dash, linewidth=1.2, label=label)


def every(
    days: np.ndarray, records: Record, *, epochs_per_day: float, rows: Sequence[int] = ()
) -> Mapping[str, Figure]:
    """All figures by name; `rows` are those of the traced validators."""
    return MappingProxyType(
        {
            "stake_and_validators": stake_and_validators(days, records),
            "participation_and_finality": participation_and_finality(days, records),
            "issuance_and_penalties": issuance_and_penalties(days, records),
            "queues": queues(days, records, epochs_per_day=epochs_per_day),
            "income_quantiles": income_quantiles(days, records, rows=rows),
        }
    )


NAMES = (
    "stake_and_validators", "participation_and_finality", "issuance_and_penalties", "queues", "income_quantiles",
)  # fmt: skip
"""Names of all figures."""


def _stack(
    axes: Axes, edges: np.ndarray, looks: Mapping[str, tuple[str, str]], daily: Callable[[str], np.ndarray]
) -> None:
    """Steps on top of each other, without those that are nothing."""
    base = np.zeros(edges.size - 1)
    for name, (label, color) in looks.items():
        values = daily(name)
        if not values.any():
            continue
        axes.stairs(base + values, edges, baseline=base, fill=True, color=color, label=label, linewidth=0.0)
        base = base + values
    axes.set_ylim(0.0, 1.05 * float(base.max()) or 1.0)
    _numbers(axes)
    _legend(axes, columns=3)


def _shade_leak(axes: Axes, days: np.ndarray, records: Record, *, label: bool = True) -> None:
    """A pale ground under the windows in an inactivity leak."""
    leak = np.asarray(records.tally.leak_epochs) > 0
    edges = np.concatenate([[0.0], days])
    for number, (start, end) in enumerate(_runs(leak)):
        words = "inactivity leak" if label and not number else None
        axes.axvspan(edges[start], edges[end], color=CONTRAST_PALE, alpha=0.6, linewidth=0.0, label=words)


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of every run of true values."""
    change = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return list(zip(change[::2].tolist(), change[1::2].tolist(), strict=True))


def _line(axes: Axes, days: np.ndarray, values: np.ndarray, **look: Any) -> None:
    """A line, or a point where there is but one record."""
    axes.plot(days, values, marker="o" if days.size == 1 else None, clip_on=days.size > 1, **look)


def _legend(axes: Axes, *, columns: int = 4) -> None:
    """Above the axes, where it hides nothing."""
    if axes.get_legend_handles_labels()[0]:
        place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2}
        axes.legend(frameon=False, ncols=columns, fontsize=9, columnspacing=1.2, handlelength=1.4, **place)


def _numbers(axes: Axes) -> None:
    """Thousands separated, a true minus sign."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace("-", "\N{MINUS SIGN}")))
    axes.grid(axis="y")


def _finish(axes: Axes, days: np.ndarray) -> None:
    axes.set_xlim(0.0, float(days[-1]))
    axes.set_xlabel("days since the start")
