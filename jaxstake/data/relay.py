"""Readers of the relay Data API: payloads delivered to proposers, and the bids that builders sent.

Each reads a file with the answer of the API, or asks a relay at its base URL. Values are in wei, exact; an answer of
another shape is refused, and no record is dropped without being counted.

Source: the Data section of the relay specification (flashbots/relay-specs), `getDeliveredPayloads` and
`getReceivedBids`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from jaxstake.data import bids as traces
from jaxstake.data import fields, payments, web
from jaxstake.data.bids import Bids

if TYPE_CHECKING:
    import urllib3

DELIVERED = "/relay/v1/data/bidtraces/proposer_payload_delivered"
RECEIVED = "/relay/v1/data/bidtraces/builder_blocks_received"

Source: TypeAlias = str | os.PathLike[str]
Conflicts: TypeAlias = Literal["refuse", "unknown"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delivered(payments.Payments):
    """Payments by slot, S of them, from delivered payloads.

    Attributes beside those of `Payments`, whose `rows` is S:
        slot: [S] int64, increasing.
        block_hash: [S] str objects, in lower case; "" where records of the slot conflict.
        payment_wei: [S] Python integers; None where records of the slot conflict.
        records: [S] records of each slot, above 1 where several relays delivered its block.
        received: number of records in `bids` by source, in the order of the sources.
        duplicates: records that repeat the slot, block and value of another; `records` less 1, summed over the slots
            without a conflict.
        conflicts: [C] slots with records of different blocks, or of different values of one block.
        left_out: records below the slot `down_to`.
        bids: the records themselves, all that are counted in `records`.
    """

    slot: np.ndarray
    block_hash: np.ndarray
    payment_wei: np.ndarray
    records: np.ndarray
    received: tuple[int, ...]
    duplicates: int
    conflicts: np.ndarray
    left_out: int
    bids: Bids


def delivered(
    *sources: Source,
    slot: int | None = None,
    cursor: int | None = None,
    limit: int = 100,
    count: int | None = None,
    down_to: int | None = None,
    requests: int = 100,
    conflicts: Conflicts = "refuse",
    client: web.Client = web.DEFAULT,
) -> Delivered:
    r"""Payments of the payloads that relays delivered to proposers, by slot.

    A relay is asked once, or, with `count` or `down_to`, page by page towards older slots until it has given that many
    records, a slot below `down_to`, or all it has.

    Args:
        *sources: files with answers of `proposer_payload_delivered`, or base URLs of relays such as
            "https://relay.example". The block that several relays delivered is one payment.
        slot: the only slot to ask for, without cursor, count and down_to.
        cursor: newest slot to ask for; default the newest that a relay has.
        limit: records per request, at least 2; a relay refuses more than it allows.
        count: records to ask each relay for, at least; all those of the last page are kept, whose oldest slot may have
            more.
        down_to: lowest slot to keep.
        requests: most requests to one relay.
        conflicts: what to do with a slot whose records are of different blocks or values, of which at most one can be
            on chain: "refuse", or "unknown" for a missing payment (NaN).
        client: bounds of tries, time and size of each request.

    Returns:
        `Delivered`, of which `payment_eth` is ready for `jaxstake.economy.block_value.fit_log_normal`.

    Raises:
        ValueError: no source; a file with arguments of a request; a file that cannot be read, a request that failed
            (`web.WebError`) or more pages than `requests`; no record at all; text that is not JSON; an answer of
            another shape, with the row and field; a block in two slots; conflicts, unless they are "unknown".

    Example:
        >>> import json, tempfile
        >>> key, address = "0x" + "8a" * 48, "0x" + "38" * 20
        >>> record = {"slot": "8629647", "block_hash": "0x" + "aa" * 32, "builder_pubkey": key, "gas_used": "21000",
        ...           "proposer_pubkey": key, "proposer_fee_recipient": address, "gas_limit": "30000000",
        ...           "value": "51722254465170642"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "delivered.json"
        ...     _ = path.write_text(json.dumps([record, record]))
        ...     found = delivered(path)
        >>> found.payment_wei.tolist(), found.paid, found.duplicates
        ([51722254465170642], 1, 1)
    """
    if not sources:
        raise ValueError("delivered payloads must be read from at least one file or URL, got none")
    if conflicts not in ("refuse", "unknown"):
        raise ValueError(f"conflicts must be 'refuse' or 'unknown', got {conflicts!r}")
    request = _Request(slot=slot, cursor=cursor, limit=limit, count=count, down_to=down_to, requests=requests)
    _require(request)
    parts = [_all(source, request, client) for source in sources]
    lowest = down_to or 0
    left_out = sum(int(np.sum(part.slot < lowest)) for part in parts)
    parts = [traces.taken(part, part.slot >= lowest) for part in parts]
    try:
        if not any(part.rows for part in parts):
            raise ValueError(
                f"all {left_out} payloads are below slot {lowest}" if left_out else "an empty list, no payload"
            )
        return _by_slot(parts, left_out, conflicts)
    except ValueError as error:
        raise ValueError(f"{', '.join(str(source) for source in sources)}: {error}") from None


def received(
    source: Source,
    *,
    slot: int | None = None,
    block_hash: str | None = None,
    block_number: int | None = None,
    builder_pubkey: str | None = None,
    limit: int | None = None,
    client: web.Client = web.DEFAULT,
) -> Bids:
    """Bids that builders sent to a relay.

    Args:
        source: a file with an answer of `builder_blocks_received`, or the base URL of a relay.
        slot: the slot to ask for; a relay wants at least one of the first four.
        block_hash: the block to ask for, 0x and 64 digits.
        block_number: the number of the block to ask for.
        builder_pubkey: the builder to ask for, 0x and 96 digits.
        limit: most records; default what the relay takes.
        client: bounds of tries, time and size of the request.

    Returns:
        `Bids`, in the order of the answer.

    Raises:
        ValueError: as in `delivered`.
    """
    numbers = {"slot": slot, "block_number": block_number, "limit": limit}
    for name, value in numbers.items():
        _require_number(name, value, 1)
    query = {**numbers, "block_hash": block_hash, "builder_pubkey": builder_pubkey}
    if not web.is_url(source):
        _refuse_query(source, query)
        found = _from_file(source)
    else:
        with web.session(client) as pool:
            found = _ask(pool, web.address(str(source), RECEIVED, query), client)
    if not found.rows:
        raise ValueError(f"{source}: an empty list, no bid")
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Request:
    """Arguments of `delivered`."""

    slot: int | None
    cursor: int | None
    limit: int
    count: int | None
    down_to: int | None
    requests: int


def _require(request: _Request) -> None:
    for name, least in {"slot": 1, "cursor": 1, "limit": 2, "count": 1, "down_to": 0, "requests": 1}.items():
        _require_number(name, getattr(request, name), least)
    others = [name for name in ("cursor", "count", "down_to") if getattr(request, name) is not None]
    if request.slot is not None and others:
        raise ValueError(f"slot asks for one slot and cannot go with {others[0]}")


def _require_number(name: str, value: int | None, least: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least):
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _refuse_query(source: Source, query: Mapping[str, object]) -> None:
    given = [name for name, value in query.items() if value is not None]
    if given:
        raise ValueError(f"{source} is a file, {given[0]} is for a request to a relay")


def _from_file(source: Source) -> Bids:
    return traces.parse(str(source), fields.parse(str(source), fields.read_file(Path(source))))


def _ask(pool: urllib3.PoolManager, url: str, client: web.Client) -> Bids:
    return traces.parse(url, fields.parse(url, web.fetch(pool, url, client=client)))


def _all(source: Source, request: _Request, client: web.Client) -> Bids:
    """All records of one source."""
    if not web.is_url(source):
        _refuse_query(source, {name: getattr(request, name) for name in ("slot", "cursor", "count", "down_to")})
        return _from_file(source)
    with web.session(client) as pool:
        if request.slot is None:
            return traces.joined(_pages(pool, str(source), request, client))
        url = web.address(str(source), DELIVERED, {"slot": request.slot, "limit": request.limit})
        found = _ask(pool, url, client)
    if np.any(found.slot != request.slot):
        raise ValueError(f"{url}: the answer has slot {found.slot[found.slot != request.slot][0]}")
    return found


def _pages(pool: urllib3.PoolManager, base: str, request: _Request, client: web.Client) -> list[Bids]:
    """Pages towards older slots.

    A cursor is the newest slot of a page, itself included. The next page begins with the oldest slot of the one
    before, as that may hold more records of it; the records that come twice for this reason are taken once.
    """
    cursor, limit = request.cursor, request.limit
    pages: list[Bids] = []
    held: set[tuple[Any, ...]] = set()
    for _ in range(request.requests):
        url = web.address(base, DELIVERED, {"limit": limit, "cursor": cursor})
        page = _ask(pool, url, client)
        if not page.rows:
            return [*pages, page]
        newest, oldest = int(page.slot.max()), int(page.slot.min())
        if cursor is not None and newest > cursor:
            raise ValueError(f"{url}: the answer must not go beyond slot {cursor}, got slot {newest}")
        records = traces.records(page)
        pages.append(traces.taken(page, np.array([record not in held for record in records])))
        enough = request.count is not None and sum(part.rows for part in pages) >= request.count
        below = request.down_to is not None and oldest < request.down_to
        if enough or below or (request.count is None and request.down_to is None):
            return pages
        if oldest == cursor and page.rows >= limit:
            raise ValueError(
                f"{url}: slot {oldest} fills a page of {limit}, so that more of it may be hidden; raise limit"
            )
        cursor = oldest - 1 if oldest == cursor else oldest
        if cursor < 1:
            return pages
        held = {record for record, slot in zip(records, page.slot, strict=True) if slot == cursor}
    raise ValueError(f"{base}: {request.requests} requests reach slot {cursor} only; raise requests, or ask for less")


def _by_slot(parts: Sequence[Bids], left_out: int, conflicts: Conflicts) -> Delivered:
    """One payment for every slot."""
    bids = traces.joined(parts)
    slots: dict[int, list[tuple[str, int]]] = {}
    slot_of: dict[str, int] = {}
    for slot, name, wei in zip(bids.slot.tolist(), bids.block_hash, bids.value_wei, strict=True):
        block = name.lower()
        if slot_of.setdefault(block, slot) != slot:
            raise ValueError(f"block {block} is in slot {slot_of[block]} and in slot {slot}")
        slots.setdefault(slot, []).append((block, wei))
    order = sorted(slots)
    disputed = [slot for slot in order if len(set(slots[slot])) > 1]
    if disputed and conflicts == "refuse":
        (block, wei), (other, more) = sorted(set(slots[disputed[0]]))[:2]
        raise ValueError(
            f"{len(disputed)} of {len(order)} slots have conflicting payloads, the first slot {disputed[0]}: "
            f"block {block} of {wei} wei and block {other} of {more} wei"
        )
    bad = set(disputed)
    chosen = [("", None) if slot in bad else slots[slot][0] for slot in order]
    paid = payments.from_eth(np.array([np.nan if wei is None else wei / traces.WEI_PER_ETH for _, wei in chosen]))
    return Delivered(
        **vars(paid),
        slot=np.array(order, np.int64),
        block_hash=fields.objects([block for block, _ in chosen]),
        payment_wei=fields.objects([wei for _, wei in chosen]),
        records=np.array([len(slots[slot]) for slot in order], np.int64),
        received=tuple(part.rows for part in parts),
        duplicates=sum(len(slots[slot]) - 1 for slot in order if slot not in bad),
        conflicts=np.array(disputed, np.int64),
        left_out=left_out,
        bids=bids,
    )
