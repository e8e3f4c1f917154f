"""Reader of block payments: a CSV file with one row per block and the column `payment_eth`."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

import numpy as np

from jaxstake.data import csv_file

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
    with csv_file.opened(path) as reader:
        places, width = csv_file.header(path, reader, required=(COLUMN,))
        values: list[float] = []
        for row in csv_file.rows(path, reader, width):
            try:
                values.append(parse(row[places[COLUMN]]))
            except ValueError as error:
                raise csv_file.at_line(path, reader, error) from None
    return from_eth(np.array(values, dtype=np.float64))


def from_eth(payment_eth: np.ndarray) -> Payments:
    """Count payments that are in memory.

    Args:
        payment_eth: [B] ETH, at least 0, NaN where unknown.

    Example:
        >>> from_eth(np.array([0.05, np.nan])).missing
        1
    """
    return Payments(
        payment_eth=payment_eth,
        rows=int(payment_eth.size),
        paid=int(np.sum(payment_eth > 0)),
        zero=int(np.sum(payment_eth == 0)),
        missing=int(np.sum(np.isnan(payment_eth))),
    )


def parse(text: str) -> float:
    """The payment of a field, ETH; NaN of an empty one.

    Raises:
        ValueError: not a number, negative or infinite.
    """
    try:
        value = float(text)
    except ValueError:
        if text and not text.isspace():
            raise ValueError(f"{COLUMN} '{text}' is not a number") from None
        return math.nan
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{COLUMN} must be at least 0 and finite, got {text}")
    return value
