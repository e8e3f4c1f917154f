"""Records of the relay Data API: what a payload or bid was worth, and whose it was."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxstake.data import fields

WEI_PER_ETH = 10**18

_HEXES = {"block_hash": 32, "builder_pubkey": 48, "proposer_pubkey": 48, "proposer_fee_recipient": 20}
_NUMBERS = ("slot", "gas_limit", "gas_used")
_OPTIONAL_NUMBERS = ("num_tx", "block_number", "timestamp", "timestamp_ms")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bids:
    """Records of the Data API in the order of the answer, B of them.

    Attributes:
        slot: [B] int64.
        value_wei: [B] Python integers, which may pass 64 bits.
        value_eth: [B] float64, the nearest to `value_wei` over 10^18.
        block_hash: [B] str objects, as written; hashes, keys and addresses are hexadecimal.
        builder_pubkey: [B] str objects.
        proposer_pubkey: [B] str objects.
        proposer_fee_recipient: [B] str objects, addresses.
        gas_limit: [B] int64.
        gas_used: [B] int64.
        parent_hash: [B] str objects, "" where a record has none; None if no record has one.
        num_tx: [B] float64, NaN where a record has none; None if no record has one, and so on below.
        block_number: [B] float64.
        timestamp: [B] float64, seconds since 1970 at which the relay had the bid.
        timestamp_ms: [B] float64, the same in milliseconds.
        optimistic_submission: [B] float64, 1 where the relay took the bid before it had checked it, 0 where not.
    """

    slot: np.ndarray
    value_wei: np.ndarray
    value_eth: np.ndarray
    block_hash: np.ndarray
    builder_pubkey: np.ndarray
    proposer_pubkey: np.ndarray
    proposer_fee_recipient: np.ndarray
    gas_limit: np.ndarray
    gas_used: np.ndarray
    parent_hash: np.ndarray | None
    num_tx: np.ndarray | None
    block_number: np.ndarray | None
    timestamp: np.ndarray | None
    timestamp_ms: np.ndarray | None
    optimistic_submission: np.ndarray | None

    @property
    def rows(self) -> int:
        """B."""
        return int(self.slot.size)


def parse(source: str, value: Any) -> Bids:
    """The records of an answer of the Data API; it may be an empty list.

    The required fields are those of `BidTraceV1` but `parent_hash`, which archives leave out. Unknown fields are
    ignored.

    Args:
        source: file or URL, for the message.
        value: the parsed JSON.

    Raises:
        ValueError: no list of objects, or a record that lacks a field or has something else in it.
    """
    rows = fields.rows(source, value, empty=True)
    value_wei = fields.wholes(source, rows, "value", most=fields.UINT256)
    columns: dict[str, np.ndarray | None] = {
        name: np.array(fields.wholes(source, rows, name), np.int64) for name in _NUMBERS
    }
    columns |= {name: fields.objects(fields.hexes(source, rows, name, size=size)) for name, size in _HEXES.items()}
    for name in _OPTIONAL_NUMBERS:
        columns[name] = _optional(fields.optional_wholes(source, rows, name, most=fields.EXACT_FLOAT), math.nan)
    columns["optimistic_submission"] = _optional(
        fields.flags(source, rows, "optimistic_submission", optional=True), math.nan
    )
    columns["parent_hash"] = _optional(fields.hexes(source, rows, "parent_hash", size=32, optional=True), "")
    return Bids(
        value_wei=fields.objects(value_wei),
        value_eth=np.array([wei / WEI_PER_ETH for wei in value_wei], np.float64),
        **columns,  # type: ignore[arg-type]
    )


def joined(parts: Sequence[Bids]) -> Bids:
    """All records of several answers, in their order."""

    def column(name: str) -> np.ndarray | None:
        found = [getattr(part, name) for part in parts]
        kept = [values for values in found if values is not None]
        if not kept:
            return None
        empty = "" if kept[0].dtype == object else math.nan
        filled = [
            np.full(part.rows, empty, kept[0].dtype) if values is None else values
            for part, values in zip(parts, found, strict=True)
        ]
        return np.concatenate(filled)

    return Bids(**{field.name: column(field.name) for field in dataclasses.fields(Bids)})  # type: ignore[arg-type]


def taken(bids: Bids, keep: np.ndarray) -> Bids:
    """The records where `keep` [B] is true."""
    columns: dict[str, Any] = {field.name: getattr(bids, field.name) for field in dataclasses.fields(Bids)}
    return Bids(**{name: values if values is None else values[keep] for name, values in columns.items()})  # type: ignore[arg-type]


def records(bids: Bids) -> list[tuple[Any, ...]]:
    """Each record as a tuple, to compare records by; what is unknown is None."""
    columns = [getattr(bids, field.name) for field in dataclasses.fields(Bids)]
    lists = [[None] * bids.rows if values is None else values.tolist() for values in columns]
    return [tuple(None if value != value else value for value in row) for row in zip(*lists, strict=True)]


def _optional(values: Sequence[Any], empty: object) -> np.ndarray | None:
    """A column that records may lack; None if all do."""
    if all(value is None for value in values):
        return None
    filled = [empty if value is None else value for value in values]
    return fields.objects(filled) if isinstance(empty, str) else np.array(filled, np.float64)
