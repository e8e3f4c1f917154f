"""Reader of daily histories of the network: a CSV file with a row per day, a column `date` and columns of numbers."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

DATE = "date"
EXIT_QUEUE = ("exit_queue_eth", "exit_wait_days", "exit_churn_eth_per_epoch")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkHistory:
    """Columns of a daily history.

    Attributes:
        date: [D] days, `datetime64[D]`, each later than the one before; days may be missing.
        columns: by name, [D] finite numbers at least 0 in the unit of the name; NaN where the field is empty.
    """

    date: np.ndarray
    columns: Mapping[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        """The column of a name."""
        return self.columns[name]


def read(path: str | os.PathLike[str], *, columns: Sequence[str] = EXIT_QUEUE) -> NetworkHistory:
    r"""Read columns of a daily history from a CSV file with a header row.

    Args:
        path: the file, UTF-8 (a byte-order mark is ignored), comma separated, with a column `date` (YYYY-MM-DD).
        columns: names of the columns to read; default those of the exit queue.

    Returns:
        `NetworkHistory`.

    Raises:
        ValueError: the file cannot be read, is empty, has no rows, lacks a column or has it twice, or a row has a wrong
            number of fields, no date, a date not after the one before, or a number that is none, negative or infinite.
            The message gives the file, and for a row its line and value.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "daily.csv"
        ...     _ = path.write_text("date,exit_queue_eth\n2025-01-01,640\n2025-01-02,\n")
        ...     history = read(path, columns=("exit_queue_eth",))
        >>> history["exit_queue_eth"].tolist(), str(history.date[1])
        ([640.0, nan], '2025-01-02')
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            dates, values = _rows(path, csv.reader(file), tuple(columns))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file: {error}") from error
    table = np.array(values, dtype=np.float64).reshape(len(dates), len(columns))
    return NetworkHistory(
        date=np.array(dates, dtype="datetime64[D]"),
        columns={name: table[:, place] for place, name in enumerate(columns)},
    )


def _rows(
    path: Path, reader: Iterator[list[str]], columns: tuple[str, ...]
) -> tuple[list[datetime.date], list[list[float]]]:
    header = [name.strip() for name in next(reader, [])]
    if not any(header):
        raise ValueError(f"{path} is empty; expected a header row with the columns {', '.join((DATE, *columns))}")
    for name in (DATE, *columns):
        if header.count(name) != 1:
            found = "no" if name not in header else "more than one"
            raise ValueError(f"{path} has {found} column {name}; found: {', '.join(header)}")
    places = [header.index(name) for name in columns]
    at, width = header.index(DATE), len(header)
    dates: list[datetime.date] = []
    values: list[list[float]] = []
    try:
        for row in reader:
            if not row:
                continue
            if len(row) != width:
                raise ValueError(f"{len(row)} fields under {width} columns")
            dates.append(_date(row[at], dates))
            values.append([_number(name, row[place]) for name, place in zip(columns, places, strict=True)])
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        line = reader.line_num  # type: ignore[attr-defined]
        raise ValueError(f"{path}, line {line}: {error}") from None
    if not dates:
        raise ValueError(f"{path} has a header but no rows")
    return dates, values


def _date(text: str, before: list[datetime.date]) -> datetime.date:
    try:
        found = datetime.date.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{DATE} '{text}' is not a date YYYY-MM-DD") from None
    if before and found <= before[-1]:
        raise ValueError(f"{DATE} must be after {before[-1]}, got {found}")
    return found


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        if text and not text.isspace():
            raise ValueError(f"{name} '{text}' is not a number") from None
        return math.nan
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{name} must be at least 0 and finite, got {text}")
    return value
