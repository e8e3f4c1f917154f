"""Named columns of a CSV file with a header row: numbers and days, every row kept or refused."""

from __future__ import annotations

import csv
import datetime
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

DATE = "date"
"""The column that holds days, as YYYY-MM-DD; all others hold numbers."""


def read(
    path: str | os.PathLike[str], *, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    r"""Read columns by name, whatever the others are.

    Args:
        path: the file, UTF-8 (a byte-order mark is ignored), comma separated.
        required: columns that must be there, without an empty field.
        optional: columns that may be missing, and may have empty fields.

    Returns:
        [R] floats by column, NaN for an empty field, and days (`datetime64[D]`) of the column "date"; an optional
        column that the file lacks is absent.

    Raises:
        ValueError: the file cannot be read, is empty, has no rows, lacks a column or has it twice, or a row has a
            wrong number of fields, no number (finite) or no day where one must be. The message gives the file, and
            for a row its line and value.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "prices.csv"
        ...     _ = path.write_text("date,price,note\n2025-01-01,3.5,a\n")
        ...     found = read(path, required=("date", "price"))
        >>> found["price"].tolist(), str(found["date"][0])
        ([3.5], '2025-01-01')
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            columns = _columns(path, csv.reader(file), tuple(required), tuple(optional))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file: {error}") from error
    types = {name: "datetime64[D]" if name == DATE else "float64" for name in columns}
    return {name: np.asarray(values, types[name]) for name, values in columns.items()}


def _columns(
    path: Path, reader: Iterator[list[str]], required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, list[datetime.date | float]]:
    header = [name.strip() for name in next(reader, [])]
    if not any(header):
        raise ValueError(f"{path} is empty; expected a header row with {', '.join(required or optional)}")
    for name in (*required, *optional):
        if header.count(name) > 1 or (name in required and name not in header):
            found = "no" if name not in header else "more than one"
            raise ValueError(f"{path} has {found} column {name}; found: {', '.join(header)}")
    places = {name: header.index(name) for name in (*required, *optional) if name in header}
    columns: dict[str, list[datetime.date | float]] = {name: [] for name in places}
    rows = 0
    for row in reader:
        if not row:
            continue
        line = reader.line_num  # type: ignore[attr-defined]
        if len(row) != len(header):
            raise ValueError(f"{path}, line {line}: {len(row)} fields under {len(header)} columns")
        rows += 1
        for name, place in places.items():
            try:
                columns[name].append(_field(name, row[place].strip(), name in required))
            except ValueError as error:
                raise ValueError(f"{path}, line {line}: {error}") from None
    if not rows:
        raise ValueError(f"{path} has a header but no rows")
    return columns


def _field(name: str, text: str, needed: bool) -> datetime.date | float:
    if not text and needed:
        raise ValueError(f"{name} is empty")
    if name == DATE:
        try:
            return datetime.date.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{name} '{text}' is not a day YYYY-MM-DD") from None
    try:
        value = float(text) if text else math.nan
    except ValueError:
        raise ValueError(f"{name} '{text}' is not a number") from None
    if text and not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {text}")
    return value


def require_increasing(path: str | os.PathLike[str], days: np.ndarray) -> None:
    """Refuse days that do not increase.

    Args:
        path: the file, for the message.
        days: [R] `datetime64[D]`.

    Raises:
        ValueError: a day is not after the one before it; the message gives both.
    """
    late = np.flatnonzero(np.diff(days) <= np.timedelta64(0, "D"))
    if late.size:
        first = int(late[0])
        raise ValueError(f"{path}: days must increase, got {days[first + 1]} after {days[first]}")


def require_positive(path: str | os.PathLike[str], name: str, values: np.ndarray) -> None:
    """Refuse a number that is not greater than 0; NaN, an empty field, passes.

    Args:
        path: the file, for the message.
        name: the column.
        values: [R] its numbers.

    Raises:
        ValueError: the first such number, with its row counted from 1.
    """
    _refuse_first(path, name, values, values <= 0, "greater than 0")


def require_not_negative(path: str | os.PathLike[str], name: str, values: np.ndarray) -> None:
    """Refuse a number below 0; arguments and errors as `require_positive`."""
    _refuse_first(path, name, values, values < 0, "at least 0")


def _refuse_first(path: str | os.PathLike[str], name: str, values: np.ndarray, bad: np.ndarray, rule: str) -> None:
    places = np.flatnonzero(bad)
    if places.size:
        first = int(places[0])
        raise ValueError(f"{path}: {name} must be {rule}, got {values[first]} in row {first + 1}")
