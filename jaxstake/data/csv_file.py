"""Opening of CSV files with a header row; every error names the file, and for a row its line."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Iterator[list[str]]]:
    """Open a comma separated UTF-8 file (a byte-order mark is ignored), as a context around the use of its rows.

    Raises:
        ValueError: the file cannot be read, is not UTF-8 text or is not CSV.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield csv.reader(file)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file: {error}") from error


def header(
    path: Path, reader: Iterator[list[str]], *, required: Sequence[str], optional: Sequence[str] = ()
) -> tuple[dict[str, int], int]:
    """Read the header row.

    Returns:
        The position of every wanted column that is there, and the number of columns.

    Raises:
        ValueError: the file is empty, lacks a required column or has a wanted one twice.
    """
    names = [name.strip() for name in next(reader, [])]
    if not any(names):
        columns = "column" if len(required) == 1 else "columns"
        raise ValueError(f"{path} is empty; expected a header row with the {columns} {', '.join(required)}")
    for name in (*required, *optional):
        if names.count(name) > 1 or (name in required and name not in names):
            found = "no" if name not in names else "more than one"
            raise ValueError(f"{path} has {found} column {name}; found: {', '.join(names)}")
    return {name: names.index(name) for name in (*required, *optional) if name in names}, len(names)


def rows(path: Path, reader: Iterator[list[str]], width: int) -> Iterator[list[str]]:
    """All rows below the header.

    Lines without any text end the file, except in a file of one column, where they are empty fields.

    Raises:
        ValueError: there is no row, a row has a wrong number of fields or follows an empty line.
    """
    ended = found = False
    for row in reader:
        if len(row) == width and not ended:
            found = True
            yield row
        elif row:
            reason = "it follows an empty line" if ended else f"{len(row)} fields under {width} columns"
            raise at_line(path, reader, reason)
        elif width == 1:
            found = True
            yield [""]
        else:
            ended = True
    if not found:
        raise ValueError(f"{path} has a header but no rows")


def at_line(path: Path, reader: Iterator[list[str]], reason: object) -> ValueError:
    """The error of the row that the reader has just given."""
    return ValueError(f"{path}, line {reader.line_num}: {reason}")  # type: ignore[attr-defined]
