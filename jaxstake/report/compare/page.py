"""The comparison as a self-contained page."""

from __future__ import annotations

import re

from jaxstake.report import page
from jaxstake.report.compare.figures import draw
from jaxstake.report.compare.row import Comparison, Row, basis, cells
from jaxstake.report.page import code, escape
from jaxstake.report.style import svg

HEADINGS = ("section", "printed claim", "printed", "protocol", "printed / protocol", "why")


def compose(comparison: Comparison) -> str:
    """The page as HTML, its figures inside."""
    drawn = {name: svg(figure) for name, figure in draw(basis(comparison.fork)).items()}
    sections = [
        (f"part-{number}", title, _table(list(rows)))
        for number, (title, rows) in enumerate(comparison.chapters.items(), start=1)
    ]
    return page.document(
        title="Two documents and the protocol",
        lead=(
            "Every printed claim of a guide to the staking APR and of an analysis of micro-staking, beside what the "
            f"protocol does at the same inputs, by the rules of {comparison.fork.capitalize()}."
        ),
        sections=sections,
        top=_overview(comparison) + _figures(drawn),
        footer=(
            "All numbers are computed: the printed ones by jaxstake.articles, the protocol's by the modules named "
            "below each reason."
        ),
        width=1080,
    )


def _overview(comparison: Comparison) -> str:
    rows = comparison.rows
    agree = sum(row.agrees for row in rows)
    factors = [max(abs(ratio), 1 / abs(ratio)) for row in rows if (ratio := row.ratio)]
    ten = sum(factor >= 10 for factor in factors)
    return page.tiles(
        [
            (str(len(rows)), "printed claims"),
            (str(agree), "agree with the protocol"),
            (str(len(rows) - agree), "differ"),
            (str(ten), "are off by a factor of ten or more"),
        ]
    )


def _figures(drawn: dict[str, bytes]) -> str:
    captions = {
        "rate": (
            "Base APR over the total stake",
            "The stake enters the printed base reward where its square root belongs. The two would meet at a billion "
            "ETH.",
        ),
        "leak": (
            "Balance of an offline validator in an inactivity leak",
            "The printed square law is the first term of a Gaussian: good for small losses, below zero beyond 5,793 "
            "epochs.",
        ),
        "uptime": (
            "Income over uptime",
            "What a validator misses is not only unpaid, as printed, but penalised. Consensus income of one validator "
            "in the newest scenario.",
        ),
    }
    return "".join(
        page.figure(drawn[name], number=number, title=title, caption=caption)
        for number, (name, (title, caption)) in enumerate(captions.items(), start=1)
    )


def _table(rows: list[Row]) -> str:
    found = []
    for row in rows:
        shown = cells(row)
        verdict = "agrees" if row.agrees else shown["ratio"] or "differs"
        why = f"{_words(row.why)} {code(row.module.removeprefix('jaxstake.'))}"
        found.append(
            [
                escape(row.section),
                _words(row.claim),
                escape(shown["printed"]),
                escape(shown["protocol"]),
                escape(verdict),
                why,
            ]
        )
    agreeing = [place for place, row in enumerate(rows) if row.agrees]
    return page.table(HEADINGS, found, numeric=(2, 3, 4), sums=agreeing)


def _words(text: str) -> str:
    """Text in which what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", lambda found: f"<code>{found.group(1)}</code>", escape(text))
