"""Reader of blocks with their payments: a CSV file with one row per block, in the order of the slots.

Columns: `slot` and `payment_eth`; if there are any, also `block_number`, `time_utc`, `kind`, `n_relays`,
`base_fee_gwei`, `gas_used` and `num_tx`. Others are ignored.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxstake.data import csv_file, payments

_ORDERED = ("slot", "block_number", "time_utc")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blocks(payments.Payments):
    """Blocks in the order of their slots, their payments and what is known beside them.

    Attributes beside those of `Payments`; a column that the file lacks is None:
        slot: [B] int64, increasing.
        block_number: [B] int64, increasing.
        time_utc: [B] `datetime64[s]`, increasing.
        kind: [B] str, such as "relay" or "local".
        n_relays: [B] relays that delivered the block; here and below NaN where the field is empty.
        base_fee_gwei: [B] base fee, Gwei per gas.
        gas_used: [B] gas.
        num_tx: [B] transactions.
        starts: [B] bool, whether a row opens a stretch of the file: the first row, and a row before which rows were
            left out. Statistics of neighbours must not join such a row to the one before it.
        slots_without_row: slots within the stretches that have no row: without a block, or not in the sample.
        missed_slots: slots within the stretches that have no block, told from the block numbers and therefore right
            for samples too; None without block numbers.
        left_out: rows of the file that `by_slot` and `by_day` left out.
    """

    slot: np.ndarray
    block_number: np.ndarray | None
    time_utc: np.ndarray | None
    kind: np.ndarray | None
    n_relays: np.ndarray | None
    base_fee_gwei: np.ndarray | None
    gas_used: np.ndarray | None
    num_tx: np.ndarray | None
    starts: np.ndarray
    slots_without_row: int
    missed_slots: int | None
    left_out: int


def read(path: str | os.PathLike[str]) -> Blocks:
    r"""Read blocks from a CSV file with a header row.

    No row is dropped. An empty field of `payment_eth` is an unknown payment, counted as missing.

    Args:
        path: the file, UTF-8 (a byte-order mark is ignored), comma separated; times are ISO 8601 in UTC.

    Returns:
        `Blocks`, of which `payment_eth` is ready for `jaxstake.economy.block_value.fit_log_normal`.

    Raises:
        ValueError: the file cannot be read, is empty, has no rows, lacks a required column or has one twice; a row has
            a wrong number of fields or a field that is none of its column; or slots, block numbers or times do not
            increase, or block numbers grow faster than slots. The message gives the file, and for a row its line,
            column and value.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "blocks.csv"
        ...     _ = path.write_text("block_number,slot,kind,payment_eth\n7,10,relay,0.05\n8,12,local,\n")
        ...     found = read(path)
        >>> found.payment_eth.tolist(), found.missing, found.missed_slots, found.kind.tolist()
        ([0.05, nan], 1, 1, ['relay', 'local'])
    """
    path = Path(path)
    with csv_file.opened(path) as reader:
        required = ("slot", payments.COLUMN)
        optional = tuple(name for name in _COLUMNS if name not in required)
        places, width = csv_file.header(path, reader, required=required, optional=optional)
        values: dict[str, list[Any]] = {name: [] for name in places}
        last: dict[str, Any] = {}
        for row in csv_file.rows(path, reader, width):
            try:
                now = {name: _COLUMNS[name][1](name, row[place].strip()) for name, place in places.items()}
                _require_order(last, now)
            except ValueError as error:
                raise csv_file.at_line(path, reader, error) from None
            last = now
            for name, value in now.items():
                values[name].append(value)
    columns = {name: np.asarray(values[name], _COLUMNS[name][0]) if name in values else None for name in _COLUMNS}
    starts = np.zeros(len(values["slot"]), bool)
    starts[0] = True
    return _counted(columns, starts, left_out=0)


def by_slot(blocks: Blocks, *, first: int | None = None, last: int | None = None) -> Blocks:
    """Keep the blocks of a range of slots.

    Args:
        blocks: from `read`.
        first: lowest slot to keep; default no bound.
        last: highest slot to keep; default no bound.

    Returns:
        `Blocks`; `left_out` has grown by the rows that were left out.

    Raises:
        ValueError: no row is left.
    """
    keep = np.ones(blocks.rows, bool)
    if first is not None:
        keep &= blocks.slot >= first
    if last is not None:
        keep &= blocks.slot <= last
    return _kept(blocks, keep, f"slots {_range(first, last)}")


def by_day(
    blocks: Blocks,
    *,
    first: str | datetime.date | None = None,
    last: str | datetime.date | None = None,
    without: Iterable[str | datetime.date] = (),
) -> Blocks:
    r"""Keep the blocks of a range of days, UTC, perhaps without some of them.

    Args:
        blocks: from `read`, with times.
        first: first day to keep, "YYYY-MM-DD" or a date; default no bound.
        last: last day to keep; default no bound.
        without: days to leave out.

    Returns:
        `Blocks`; `left_out` has grown by the rows that were left out.

    Raises:
        ValueError: there are no times; a text is not a day; a day to leave out has no row; no row is left.

    Example:
        >>> import tempfile
        >>> text = "slot,time_utc,payment_eth\n1,2024-01-01T23:59:59Z,1\n2,2024-01-02T00:00:11Z,2\n"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "blocks.csv"
        ...     _ = path.write_text(text)
        ...     found = by_day(read(path), without=["2024-01-01"])
        >>> found.payment_eth.tolist(), found.left_out
        ([2.0], 1)
    """
    if blocks.time_utc is None:
        raise ValueError("blocks without the column time_utc cannot be chosen by day")
    days = blocks.time_utc.astype("datetime64[D]")
    keep = np.ones(blocks.rows, bool)
    low, high = (None if day is None else _day(day) for day in (first, last))
    if low is not None:
        keep &= days >= low
    if high is not None:
        keep &= days <= high
    for day in map(_day, without):
        here = days == day
        if not np.any(here):
            raise ValueError(f"without {day}: no row is of that day; the rows are of {days[0]} to {days[-1]}")
        keep &= ~here
    return _kept(blocks, keep, f"days {_range(low, high)}")


def _kept(blocks: Blocks, keep: np.ndarray, wanted: str) -> Blocks:
    if not np.any(keep):
        raise ValueError(f"no row of {blocks.rows} is left within {wanted}")
    columns = {name: None if (c := getattr(blocks, name)) is None else c[keep] for name in _COLUMNS}
    starts = blocks.starts.copy()
    starts[1:] |= ~keep[:-1]
    starts[np.argmax(keep)] = True
    return _counted(columns, starts[keep], left_out=blocks.left_out + int(np.sum(~keep)))


def _counted(columns: Mapping[str, Any], starts: np.ndarray, *, left_out: int) -> Blocks:
    """Blocks of columns, with the counts."""
    joined = ~starts[1:]
    steps, numbers = np.diff(columns["slot"])[joined], columns["block_number"]
    missed = None if numbers is None else int(np.sum(steps - np.diff(numbers)[joined]))
    paid = payments.from_eth(columns[payments.COLUMN])
    return Blocks(
        **{**columns, **vars(paid)},
        starts=starts,
        slots_without_row=int(np.sum(steps - 1)),
        missed_slots=missed,
        left_out=left_out,
    )


def _require_order(last: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in _ORDERED:
        if name in last and now[name] <= last[name]:
            relation = "equals that of" if now[name] == last[name] else f"is below {last[name]} of"
            raise ValueError(f"{name} must increase, but {now[name]} {relation} the row before")
    if "block_number" in last:
        blocks, slots = (now[name] - last[name] for name in ("block_number", "slot"))
        if blocks > slots:
            raise ValueError(
                f"block_number {now['block_number']} is {blocks} blocks after the row before, in {slots} slots"
            )


def _whole(name: str, text: str) -> int:
    value = _number(name, text)
    if math.isnan(value):
        raise ValueError(f"{name} is empty")
    if not (value < 2.0**53 and value.is_integer()):
        raise ValueError(f"{name} must be a whole number below 2^53, got {text}")
    return int(value)


def _count(name: str, text: str) -> float:
    return float(_whole(name, text)) if text else math.nan


def _number(name: str, text: str) -> float:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        raise ValueError(f"{name} '{text}' is not a number") from None
    if text and not 0.0 <= value < math.inf:
        raise ValueError(f"{name} must be at least 0 and finite, got {text}")
    return value


def _time(name: str, text: str) -> datetime.datetime:
    try:
        value = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} '{text}' is not a time YYYY-MM-DDThh:mm:ssZ") from None
    if len(text) < len("YYYY-MM-DDThh:mm:ss") or value.microsecond or value.utcoffset():
        raise ValueError(f"{name} must be a day and whole seconds in UTC, got {text}")
    return value.replace(tzinfo=None)


def _kind(name: str, text: str) -> str:
    if not text:
        raise ValueError(f"{name} is empty")
    return text


def _day(day: str | datetime.date) -> np.datetime64:
    if isinstance(day, datetime.datetime):
        raise ValueError(f"a day must be a date without a time, got {day}")
    try:
        return np.datetime64(datetime.date.fromisoformat(day) if isinstance(day, str) else day, "D")
    except ValueError:
        raise ValueError(f"'{day}' is not a day YYYY-MM-DD") from None


def _range(first: object, last: object) -> str:
    return f"{'the first' if first is None else first} to {'the last' if last is None else last}"


_COLUMNS: Mapping[str, tuple[str, Callable[[str, str], Any]]] = MappingProxyType(
    {
        "slot": ("int64", _whole),
        payments.COLUMN: ("float64", lambda _, text: payments.parse(text)),
        "block_number": ("int64", _whole),
        "time_utc": ("datetime64[s]", _time),
        "kind": ("str", _kind),
        "n_relays": ("float64", _count),
        "base_fee_gwei": ("float64", _number),
        "gas_used": ("float64", _count),
        "num_tx": ("float64", _count),
    }
)
"""Type and parser of every column."""
