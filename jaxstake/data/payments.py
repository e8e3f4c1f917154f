"""Reader of block payments: a CSV file with one row per block and the column `payment_eth`."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

COLUMN = "payment_eth"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Payments:
    """Payments of blocks, and what they consist of.

    Attributes:
        payment_eth: [B] payments in the order of the file, ETH, at least 0; NaN where the field is empty.
        rows: number of rows, B = paid + zero + missing.
        paid: rows with a payment above 0.
        zero: rows with a payment of 0.
        missing: rows with an empty field: the payment is unknown, not zero.
    """

    payment_eth: np.ndarray
    rows: int
    paid: int
    zero: int
    missing: int


def read(path: str | os.PathLike[str]) -> Payments:
    r"""Read block payments from a CSV file with a header row.

    Only the column `payment_eth` is used, whatever the others are. No row is dropped: an empty field is counted as
    missing, anything else that is not a payment is an error. Lines without any text end the file, except in a file of
    this one column, where they are empty fields.

    Args:
        path: the file, UTF-8 (a byte-order mark is ignored), comma separated.

    Returns:
        `Payments`, ready for `jaxstake.economy.block_value.fit_log_normal`.

    Raises:
        ValueError: the file cannot be read, is empty, has no rows, lacks the column or has it twice, or a row has a
            wrong number of fields or a payment that is not a number, negative or infinite. The message gives the file,
            and for a row its line and value.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "blocks.csv"
        ...     _ = path.write_text("slot,payment_eth\n1,0.05\n2,\n3,0\n")
        ...     payments = read(path)
        >>> payments.payment_eth.tolist(), payments.paid, payments.zero, payments.missing
        ([0.05, nan, 0.0], 1, 1, 1)
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            values = _column(path, csv.reader(file))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file: {error}") from error
    payment_eth = np.array(values, dtype=np.float64)
    paid, zero = int(np.sum(payment_eth > 0)), int(np.sum(payment_eth == 0))
    missing = int(np.sum(np.isnan(payment_eth)))
    return Payments(payment_eth=payment_eth, rows=len(values), paid=paid, zero=zero, missing=missing)


def _column(path: Path, reader: Iterator[list[str]]) -> list[float]:
    """The payments, NaN for an empty field."""
    header = [name.strip() for name in next(reader, [])]
    if not any(header):
        raise ValueError(f"{path} is empty; expected a header row with the column {COLUMN}")
    if header.count(COLUMN) != 1:
        found = "no" if COLUMN not in header else "more than one"
        raise ValueError(f"{path} has {found} column {COLUMN}; found: {', '.join(header)}")
    position, width = header.index(COLUMN), len(header)
    values: list[float] = []
    ended = False
    try:
        for row in reader:
            if len(row) == width and not ended:
                values.append(_payment(row[position]))
            elif row:
                raise ValueError("it follows an empty line" if ended else f"{len(row)} fields under {width} columns")
            elif width == 1:
                values.append(math.nan)
            else:
                ended = True
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        line = reader.line_num  # type: ignore[attr-defined]
        raise ValueError(f"{path}, line {line}: {error}") from None
    if not values:
        raise ValueError(f"{path} has a header but no rows")
    return values


def _payment(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        if text and not text.isspace():
            raise ValueError(f"{COLUMN} '{text}' is not a number") from None
        return math.nan
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{COLUMN} must be at least 0 and finite, got {text}")
    return value
