"""A sweep in a few numbers per output: for tables on a terminal, for a page, and for a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

Summary = Mapping[str, Mapping[str, float]]
"""Statistics by output, then by name."""


def describe(dataset: xarray.Dataset) -> dict[str, dict[str, float]]:
    """Statistics of every output of a sweep that kept its lanes, over the valid ones.

    Returns:
        By output: count, mean, std, min, the quantiles ("p5" for 5 %), max. NaN where no lane is valid.
    """
    return {str(name): statistics(np.asarray(values)) for name, values in dataset.data_vars.items()}


def statistics(values: np.ndarray) -> dict[str, float]:
    """Statistics of one array, over what is not NaN, in double precision.

    Example:
        >>> found = statistics(np.array([1.0, 2.0, np.nan, 3.0]))
        >>> found["count"], found["mean"], found["p50"]
        (3.0, 2.0, 2.0)
    """
    valid = np.asarray(values, dtype=float).ravel()
    valid = valid[~np.isnan(valid)]
    names = [f"p{100 * level:g}" for level in LEVELS]
    if not valid.size:
        return {"count": 0.0, **dict.fromkeys(["mean", "std", "min", *names, "max"], float("nan"))}
    quantiles = np.quantile(valid, LEVELS)
    return {
        "count": float(valid.size),
        "mean": float(valid.mean()),
        "std": float(valid.std()),
        "min": float(valid.min()),
        **{name: float(value) for name, value in zip(names, quantiles, strict=True)},
        "max": float(valid.max()),
    }


def reductions(dataset: xarray.Dataset) -> dict[str, dict[str, float]]:
    """Statistics of a reduced sweep, by output; the place of an extreme as "argmax.<leaf>"; without histograms."""
    found: dict[str, dict[str, float]] = {}
    for key, values in dataset.data_vars.items():
        output, _, statistic = str(key).rpartition("_")
        row = found.setdefault(output.removesuffix("_bin"), {})
        if statistic == "quantiles":
            levels = dataset["quantile"].values
            row |= {f"p{100 * level:g}": float(value) for level, value in zip(levels, values.values, strict=True)}
        elif statistic in ("argmin", "argmax"):
            names = dataset["leaf"].values
            row |= {f"{statistic}.{name}": float(value) for name, value in zip(names, values.values, strict=True)}
        elif values.ndim == 0:
            row[statistic] = float(values)
    return found


def write_csv(path: Path, summary: Summary) -> None:
    """Write a row per output and a column per statistic; a number that does not exist is an empty field."""
    columns = list(dict.fromkeys(name for row in summary.values() for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["output", *columns])
        for output, row in summary.items():
            writer.writerow([output, *(_field(row.get(name)) for name in columns)])


def _field(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else repr(value + 0.0).removesuffix(".0")
