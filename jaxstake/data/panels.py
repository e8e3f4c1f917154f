"""Reader of validator panels: CSV files with one row per validator (or operator) and interval.

The layout is told from the header; other columns are ignored. A row of
`interval, validator[, operator], assigned, attested` (or `attested, missed` without `assigned`) is a panel of duties,
one of `operator_id, validator_index, assigned, included` a cross-section of one interval, and one of `node, interval`
without duties tells only who was present.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

Layout: TypeAlias = Literal["panel", "cross-section", "presence"]

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "interval": ("interval",),
    "validator": ("validator", "validator_index", "node"),
    "operator": ("operator", "operator_id"),
    "assigned": ("assigned",),
    "attested": ("attested", "included"),
    "missed": ("missed",),
}
_EXPECTED = (
    "expected interval, validator[, operator] with assigned and attested or attested and missed; "
    "or operator_id, validator_index, assigned, included; or node, interval"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """Rows of a panel in the order of the file, N of them, with T intervals in order and V validators.

    Attributes:
        layout: "panel" (duties over time), "cross-section" (duties of one interval) or "presence" (no duties).
        interval: [N] position of each row's interval, 0 to T - 1.
        validator: [N] number of each row's validator by first appearance, 0 to V - 1.
        operator: [N] number of its operator by first appearance; None without that column.
        assigned: [N] duties; None in "presence".
        attested: [N] duties performed; None in "presence".
        intervals: [T] numbers of the intervals, increasing; absent numbers are absent.
        validators: V.
        operators: number of operators; 0 without that column.
        idle: rows without duties, which say nothing and are kept.
    """

    layout: Layout
    interval: np.ndarray
    validator: np.ndarray
    operator: np.ndarray | None
    assigned: np.ndarray | None
    attested: np.ndarray | None
    intervals: np.ndarray
    validators: int
    operators: int
    idle: int

    @property
    def rows(self) -> int:
        """N."""
        return int(self.interval.size)


def read(path: str | os.PathLike[str]) -> Panel:
    r"""Read a panel from a CSV file with a header row.

    Args:
        path: the file, UTF-8 (a byte-order mark is ignored), comma separated.

    Returns:
        `Panel`.

    Raises:
        ValueError: the file cannot be read, has no rows, has none of the layouts or a column twice; or a row has a
            wrong number of fields, an empty name, a number that is not whole or is negative, more duties performed
            than assigned, or the interval and validator of an earlier row. The message gives the file, and for a row
            its line, column and value.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "panel.csv"
        ...     _ = path.write_text("interval,validator,attested,missed\n7,a,9,1\n7,b,10,0\n9,a,8,2\n")
        ...     panel = read(path)
        >>> panel.layout, panel.assigned.tolist(), panel.interval.tolist(), panel.intervals.tolist()
        ('panel', [10.0, 10.0, 10.0], [0, 0, 1], [7, 9])
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read(path, csv.reader(file))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file: {error}") from error


def present(panel: Panel) -> np.ndarray:
    """[V, T] whether each validator has a row in each interval."""
    seen = np.zeros((panel.validators, panel.intervals.size), bool)
    seen[panel.validator, panel.interval] = True
    return seen


def matrices(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """[V, T] duties performed and duties, 0 where a validator has no row.

    Raises:
        ValueError: the panel tells only who was present.
    """
    if panel.assigned is None or panel.attested is None:
        raise ValueError("the panel has no duties: it tells only who was present")
    done, duties = (np.zeros((panel.validators, panel.intervals.size)) for _ in range(2))
    done[panel.validator, panel.interval] = panel.attested
    duties[panel.validator, panel.interval] = panel.assigned
    return done, duties


def _read(path: Path, reader: Iterator[list[str]]) -> Panel:
    header = [name.strip() for name in next(reader, [])]
    if not any(header):
        raise ValueError(f"{path} is empty; {_EXPECTED}")
    columns = _columns(path, header)
    layout = _layout(path, header, columns)
    rows: list[tuple[int, str, str, float, float]] = []
    seen: dict[tuple[int, str], int] = {}
    for fields in reader:
        if not any(field.strip() for field in fields):
            continue
        line = reader.line_num  # type: ignore[attr-defined]
        try:
            if len(fields) != len(header):
                raise ValueError(f"{len(fields)} fields under {len(header)} columns")
            row = _row({name: fields[at].strip() for name, at in columns.items()}, header, columns)
            if row[:2] in seen:
                where = "" if layout == "cross-section" else f" in interval {row[0]}"
                raise ValueError(f"'{row[1]}' is on line {seen[row[:2]]} already{where}")
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: {error}") from None
        seen[row[:2]] = line
        rows.append(row)
    if not rows:
        raise ValueError(f"{path} has a header but no rows")
    return _panel(layout, columns, rows)


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    """Position of every known column by its meaning; two spellings of one meaning are an error."""
    found: dict[str, int] = {}
    for meaning, names in _ALIASES.items():
        places = [at for at, name in enumerate(header) if name in names]
        if len(places) > 1:
            raise ValueError(f"{path} has more than one column {' or '.join(header[at] for at in places)}")
        if places:
            found[meaning] = places[0]
    return found


def _layout(path: Path, header: list[str], columns: Mapping[str, int]) -> Layout:
    duties = "attested" in columns and ("assigned" in columns or "missed" in columns)
    partial = bool({"attested", "assigned", "missed"} & columns.keys()) and not duties
    if "validator" in columns and not partial:
        if "interval" in columns:
            return "panel" if duties else "presence"
        if duties and "operator" in columns:
            return "cross-section"
    raise ValueError(f"{path} is no panel: {_EXPECTED}; found: {', '.join(header)}")


def _row(
    fields: Mapping[str, str], header: list[str], columns: Mapping[str, int]
) -> tuple[int, str, str, float, float]:
    """Interval, validator, operator, duties performed and duties of one row."""

    def number(meaning: str) -> int:
        return _whole(header[columns[meaning]], fields[meaning])

    for meaning in ("validator", "operator"):
        if meaning in columns and not fields[meaning]:
            raise ValueError(f"{header[columns[meaning]]} is empty")
    interval = number("interval") if "interval" in columns else 0
    name, operator = fields["validator"], fields.get("operator", "")
    if "attested" not in columns:
        return interval, name, operator, math.nan, math.nan
    done = number("attested")
    duties = number("assigned") if "assigned" in columns else done + number("missed")
    if done > duties:
        raise ValueError(f"{header[columns['attested']]} {done} exceeds {header[columns['assigned']]} {duties}")
    if "assigned" in columns and "missed" in columns and done + number("missed") != duties:
        raise ValueError(f"assigned {duties} is not attested {done} plus missed {fields['missed']}")
    return interval, name, operator, float(done), float(duties)


def _whole(name: str, text: str) -> int:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} '{text}' is not a number") from None
    if not (0.0 <= value < 2.0**53 and value.is_integer()):
        raise ValueError(f"{name} must be a whole number of at least 0, got {text}")
    return int(value)


def _panel(layout: Layout, columns: Mapping[str, int], rows: list[tuple[int, str, str, float, float]]) -> Panel:
    numbers, interval = np.unique([row[0] for row in rows], return_inverse=True)
    validator, validators = _codes([row[1] for row in rows])
    operator, operators = _codes([row[2] for row in rows]) if "operator" in columns else (None, 0)
    done, duties = np.array([row[3] for row in rows]), np.array([row[4] for row in rows])
    return Panel(
        layout=layout,
        interval=interval,
        validator=validator,
        operator=operator,
        attested=None if layout == "presence" else done,
        assigned=None if layout == "presence" else duties,
        intervals=numbers,
        validators=validators,
        operators=operators,
        idle=0 if layout == "presence" else int(np.sum(duties == 0)),
    )


def _codes(names: list[str]) -> tuple[np.ndarray, int]:
    """Numbers by first appearance, and how many."""
    code: dict[str, int] = {}
    return np.array([code.setdefault(name, len(code)) for name in names]), len(code)
