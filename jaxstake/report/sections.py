"""The sections of the report about one scenario: its yield, its parts, its sensitivities, its queues."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxstake.core import leaves
from jaxstake.core.typing import Scalar
from jaxstake.economy.apr import annual_yield
from jaxstake.report import page
from jaxstake.report.drawings import causes
from jaxstake.report.page import code, escape, note, paragraph, table
from jaxstake.report.study import Study
from jaxstake.report.style import number, percent

Figures = Callable[[str, str, str], str]
"""Embeds a figure: (name, title, caption as HTML) to HTML, numbered in order of use."""

SUMS = ("consensus", "execution", "gross", "net")


def points(value: Scalar, digits: int = 3) -> str:
    """A difference of two rates in percentage points, with its sign.

    Example:
        >>> points(0.00022), points(-0.00015), points(1e-9)
        ('+0.022 pp', '−0.015 pp', '0.000 pp')
    """
    text = percent(value, digits).removesuffix("%")
    return f"{'+' if float(text.replace(chr(0x2212), '-')) > 0 else ''}{text} pp"


def basis_points(value: Scalar, digits: int = 2) -> str:
    """A difference of two rates in hundredths of a percentage point, with its sign.

    Example:
        >>> basis_points(-0.0013566), basis_points(0.0000077)
        ('−13.57', '+0.08')
    """
    return points(100.0 * value, digits).removesuffix(" pp")


def overview(study: Study) -> str:
    """The tiles at the top, and what is unlike the snapshot."""
    network, exit_wait = study.scenario.network, study.leaving
    entries = [
        (percent(study.rate.net), "net APR of this scenario, expected"),
        (percent(study.day.reported_apr), f"reported {study.day.date.isoformat()}, mean of 7 days"),
        (f"{float(network.total_stake_eth) / 1e6:.2f} M", "ETH at stake"),
        (f"{float(study.entry.total):.1f} days", "to enter the validator set"),
    ]
    if exit_wait is not None:
        entries.append((f"{float(exit_wait.total):.1f} days", "to leave and be paid out"))
    found = page.tiles(entries) + note(_gist(study))
    if study.changed:
        rows = [
            [code(name), "none" if before is None else number(before, 8), number(now, 8)]
            for name, (before, now) in study.changed.items()
        ]
        found += "<h3>Where this scenario differs from the snapshot</h3>"
        found += table(["leaf", "snapshot", "here"], rows, numeric=(1, 2))
    return found


def _gist(study: Study) -> str:
    """The report in three sentences."""
    rate, net, stake = study.rate, study.summary["net"], "network.total_stake_eth"
    found = (
        f"Under this scenario a validator can expect {percent(rate.net)} a year: {percent(rate.consensus)} from the "
        f"consensus layer, {percent(rate.execution)} from the blocks that it proposes, and "
        f"{points(rate.net - rate.gross, 2)} for hazards, costs and commission."
    )
    if stake in study.swept.dims and not math.isnan(study.drivers[0]):
        share = study.drivers[list(study.swept.dims).index(stake)]
        found += (
            f" Over {int(study.swept.attrs['lanes']):,} scenarios around it nine in ten lie "
            f"between {percent(net['p5'])} and {percent(net['p95'])}; the total stake explains {percent(share, 0)} of "
            "their variance."
        )
    return found


def compared(study: Study, figures: Figures) -> str:
    """The computed rate of the snapshot beside the reported one."""
    found = study.compared
    sums = {"computed", "reported", "reported less computed"}
    rows = [
        [
            escape(row.label),
            points(row.apr)
            if row.label not in ("perfect consensus duties", "computed", "reported")
            else percent(row.apr, 3),
            escape(row.note),
        ]
        for row in found.rows
    ]
    intro = (
        f"From a validator that never fails in a network that never fails, step by step to the average validator of "
        f"{found.date.isoformat()}, and on to the rate that was reported on the day."
    )
    if study.changed:
        intro += " This section is about the snapshot itself, not about the changed scenario."
    return (
        paragraph(intro)
        + table(
            ["step", "per year", "what it is"],
            rows,
            numeric=(1,),
            sums=[place for place, row in enumerate(found.rows) if row.label in sums],
        )
        + note(escape(found.explanation))
    )


def parts(study: Study, figures: Figures) -> str:
    """The components of the APR."""
    rate, balance = study.rate, float(study.scenario.validator.effective_balance_eth)
    meanings = leaves.meanings(rate)
    rows = [
        [
            escape(name),
            percent(value, 5),
            f"{balance * value + 0.0:.6f}".replace("-", "\N{MINUS SIGN}"),
            escape(meanings[name]),
        ]
        for name, value in vars(rate).items()
    ]
    names = list(vars(rate))
    swept = float(annual_yield(rate, balance_eth=balance, compounding=False))
    text = (
        f"The consensus layer pays {percent(rate.consensus / rate.gross, 1)} of the gross rate, the execution layer "
        f"{percent(rate.execution / rate.gross, 1)}. Rewards swept at 32 ETH (credentials 0x01) yield "
        f"{percent(swept, 3)} in a year"
    )
    if balance > 1.0:
        compounding = float(annual_yield(rate, balance_eth=2000.0, compounding=True))
        text += f"; on a compounding balance (0x02) of 2,000 ETH they yield {percent(compounding, 3)}"
    return (
        paragraph(text + ".")
        + figures(
            "breakdown",
            "How the net APR adds up",
            "Dark: consensus layer; pale: execution layer; orange: losses. Parts that are zero are left out.",
        )
        + table(
            ["component", "% per year", "ETH per year", "meaning"],
            rows,
            numeric=(1, 2),
            sums=[names.index(name) for name in SUMS],
            caption=f"All components, for an effective balance of {balance:g} ETH.",
        )
    )


def sensitivities(study: Study, figures: Figures) -> str:
    """Tornado, exact first derivatives, and what second derivatives add."""
    slopes = study.slopes
    is_rule = np.array([str(name).startswith("fork.") for name in slopes["leaf"].values])
    return (
        paragraph(
            "Derivatives are exact: the whole model is differentiated, not nudged. An elasticity of "
            "\N{MINUS SIGN}0.5 means that 1% more of the quantity lowers the net APR by 0.5% of itself."
        )
        + figures(
            "tornado",
            "Net APR when one quantity moves through its range",
            "All others stay at the base. Ranges are those of the scenarios below.",
        )
        + _slopes_table(slopes.isel(leaf=~is_rule), "Network, validator, market and costs.")
        + _slopes_table(slopes.isel(leaf=is_rule), "Constants of the protocol, as if a fork could set them.")
        + _moves(study)
    )


def _slopes_table(slopes: Any, caption: str) -> str:
    order = np.argsort(-np.abs(slopes["change_per_percent"].values), kind="stable")
    rows = []
    for row in order:
        line = slopes.isel(leaf=row)
        rows.append(
            [
                code(str(line["leaf"].item())),
                number(line["value"].item(), 8),
                escape(line["unit"].item()),
                number(line["gradient"].item()),
                percent(0.01 * line["elasticity"].item(), 3).removesuffix("%"),
                basis_points(line["change_per_percent"].item(), 3),
            ]
        )
    headers = ["leaf", "value", "unit", "gradient, 1/year per unit", "elasticity", "bp per +1%"]
    return table(headers, rows, numeric=(1, 3, 4, 5), caption=f"{caption} 1 bp is 0.01 percentage points of net APR.")


def _moves(study: Study) -> str:
    """First- and second-order terms of a joint move, beside the exact change."""
    moves = study.moves
    rows = []
    for row, label in enumerate(moves.labels):
        cells = [
            basis_points(moves.second[row, column]) if column <= row else "" for column in range(len(moves.labels))
        ]
        rows.append([f"{row + 1}. {escape(label)}", basis_points(moves.first[row]), *cells])
    headers = ["move", "slope", *(f"× {column + 1}" for column in range(len(moves.labels)))]
    first = float(moves.first.sum())
    second = float(np.tril(moves.second).sum())
    return (
        "<h3>What slopes leave out</h3>"
        + paragraph(
            "The Hessian says how far slopes can be trusted. Below, the effect of each move by its slope, and the "
            "second-order terms: on the diagonal the curvature of a move, elsewhere what two moves have together."
        )
        + table(headers, rows, numeric=range(1, len(headers)), caption="Effects on net APR, bp.")
        + paragraph(
            f"All moves at once change the net APR by {basis_points(moves.exact)} bp. The slopes alone say "
            f"{basis_points(first)} bp, with the second-order terms {basis_points(first + second)} bp."
        )
    )


def waiting(study: Study, figures: Figures) -> str:
    """The queues."""
    network = study.scenario.network
    rows = []
    for name, wait, queue in (
        ("entry", study.entry, network.entry_queue_eth),
        ("exit", study.leaving, network.exit_queue_eth),
    ):
        if wait is not None:
            days = [f"{value:.2f}" for value in causes(wait).values()]
            rows.append([name, f"{float(queue):,.0f}", *days, f"<b>{float(wait.total):.2f}</b>"])
    headers = ["", "queue, ETH", "queue", "finality", "lookahead", "delay", "sweep", "days in all"]
    text = (
        "Days for stake that joins the end of a queue now: until a deposit earns, and from an exit request until the "
        "ETH is on its withdrawal address."
    )
    if study.leaving is None:
        text += " At this fork nothing could be withdrawn, so that there is no exit wait."
    return (
        paragraph(text)
        + figures("waits", "Waiting time by cause", "Stake in the queues as in the scenario, churn by its fork's rule.")
        + table(headers, rows, numeric=range(1, len(headers)))
    )
