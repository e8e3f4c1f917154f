"""The comparison as JSON, CSV and a page."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxstake.report.compare.page import compose
from jaxstake.report.compare.row import Comparison, Row, cells

FIELDS = (
    "key",
    "document",
    "section",
    "claim",
    "printed",
    "printed_high",
    "protocol",
    "unit",
    "ratio",
    "verdict",
    "why",
    "module",
)


def record(row: Row) -> dict[str, Any]:
    """A row with its numbers at full precision."""
    values = {name: getattr(row, name) for name in FIELDS if hasattr(row, name)}
    numeric = {
        name: None if values[name] is None else float(np.asarray(values[name]))
        for name in ("printed", "printed_high", "protocol", "ratio")
    }
    return {name: {**values, **numeric, "verdict": cells(row)["verdict"]}[name] for name in FIELDS}


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison for other programs."""
    agreeing = sum(row.agrees for row in comparison.rows)
    return {
        "fork": comparison.fork,
        "claims": len(comparison.rows),
        "agree": agreeing,
        "differ": len(comparison.rows) - agreeing,
        "rows": [record(row) for row in comparison.rows],
    }


def summary(comparison: Comparison) -> str:
    """One line about all rows."""
    agreeing = sum(row.agrees for row in comparison.rows)
    return (
        f"{len(comparison.rows)} claims under the rules of {comparison.fork}: {agreeing} agree with the protocol, "
        f"{len(comparison.rows) - agreeing} differ."
    )


def write(comparison: Comparison, folder: Path) -> Mapping[str, Path]:
    """Write comparison.html and comparison.csv into an existing folder; return their paths.

    Raises:
        OSError: the folder cannot be written.
    """
    paths = {"page": folder / "comparison.html", "csv": folder / "comparison.csv"}
    with paths["csv"].open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        writer.writerows([record(row)[name] for name in FIELDS] for row in comparison.rows)
    paths["page"].write_text(compose(comparison), encoding="utf-8")
    return paths
