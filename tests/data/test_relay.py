"""The readers of the relay Data API, from files and from a server that plays relays."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxstake.data import bids as traces
from jaxstake.data import payments, relay, web

QUICK = web.Client(connect_s=1.0, read_s=0.3, retries=1, longest_wait_s=1.0)
KEY, OTHER_KEY, ADDRESS = "0x" + "8a" * 48, "0x" + "B1" * 48, "0x" + "3c" * 20


def block(number: int) -> str:
    return f"0x{number:064x}"


def record(slot: int, value: int, *, of: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "slot": str(slot),
        "block_hash": of or block(slot),
        "builder_pubkey": KEY,
        "proposer_pubkey": OTHER_KEY,
        "proposer_fee_recipient": ADDRESS,
        "gas_limit": "30000000",
        "gas_used": "12104891",
        "value": str(value),
        **more,
    }


def written(folder: Path, value: Any, name: str = "answer.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(value))
    return path


def plays_relay(server: Any, held: list[dict[str, Any]], *, cap: int = 200) -> None:
    """Newest slots first, the cursor included, as relays do it."""

    def answer(asked: Any) -> Any:
        rows = sorted(held, key=lambda row: -int(row["slot"]))
        if "slot" in asked.query:
            rows = [row for row in rows if row["slot"] == asked.query["slot"][0]]
        if "cursor" in asked.query:
            rows = [row for row in rows if int(row["slot"]) <= int(asked.query["cursor"][0])]
        return server.Reply(body=rows[: min(cap, int(asked.query["limit"][0]))])

    server.answer = answer


def test_reads_the_sample_of_delivered_payloads(shared: Path) -> None:
    path = shared / "data" / "relay_payload_delivered_sample.json"
    rows = json.loads(path.read_text())
    found = relay.delivered(path)
    assert found.slot.tolist() == sorted(int(row["slot"]) for row in rows)
    assert found.payment_wei.tolist() == [int(row["value"]) for row in sorted(rows, key=lambda row: int(row["slot"]))]
    assert found.payment_wei.sum() == sum(int(row["value"]) for row in rows)
    np.testing.assert_array_equal(found.payment_eth, [wei / 10**18 for wei in found.payment_wei])
    assert (found.rows, found.paid, found.zero, found.missing) == (25, 25, 0, 0)
    assert (found.received, found.duplicates, found.conflicts.size, found.left_out) == ((25,), 0, 0, 0)
    assert found.bids.parent_hash is None
    assert found.bids.timestamp_ms is None
    for name in ("block_hash", "builder_pubkey", "proposer_pubkey", "proposer_fee_recipient"):
        assert getattr(found.bids, name).tolist() == [row[name] for row in rows]
    for name in ("gas_limit", "gas_used", "num_tx", "block_number"):
        assert getattr(found.bids, name).tolist() == [int(row[name]) for row in rows]


def test_delivered_payloads_can_be_fitted(shared: Path, x64: bool) -> None:
    import jax.numpy as jnp

    from jaxstake.economy import block_value

    found = relay.delivered(shared / "data" / "relay_payload_delivered_sample.json")
    assert isinstance(found, payments.Payments)
    fit = block_value.fit_log_normal(jnp.asarray(found.payment_eth))
    logs = np.log(found.payment_eth)
    assert float(fit.distribution.log_mean) == pytest.approx(logs.mean(), rel=1e-12 if x64 else 1e-5)


def test_reads_the_sample_of_bids(shared: Path) -> None:
    path = shared / "data" / "relay_builder_bids_sample.json"
    rows = json.loads(path.read_text())
    found = relay.received(path)
    assert found.rows == len(rows) == 60
    assert found.value_wei.tolist() == [int(row["value"]) for row in rows]
    assert found.value_wei.max() == max(int(row["value"]) for row in rows)
    assert set(found.slot.tolist()) == {6_214_255}
    for name in ("gas_limit", "gas_used", "num_tx", "block_number", "timestamp", "timestamp_ms"):
        assert getattr(found, name).tolist() == [int(row[name]) for row in rows]
    assert found.parent_hash.tolist() == [row["parent_hash"] for row in rows]
    assert found.optimistic_submission is None
    assert found.slot.dtype == found.gas_used.dtype == np.int64


def test_serves_the_samples(shared: Path, server) -> None:
    """The same from a URL as from the file."""
    for name, read, path in (
        ("relay_payload_delivered_sample.json", relay.delivered, "proposer_payload_delivered"),
        ("relay_builder_bids_sample.json", relay.received, "builder_blocks_received"),
    ):
        file = shared / "data" / name
        server.replies(server.Reply(body=file.read_bytes()))
        there, here = read(server.url, slot=None), read(file)
        assert server.asked[-1].path == f"/relay/v1/data/bidtraces/{path}"
        for found, expected in ((getattr(there, "bids", there), getattr(here, "bids", here)),):
            assert traces.records(found) == traces.records(expected)


def test_optional_fields_may_be_in_some_records(tmp_path: Path) -> None:
    rows = [
        record(1, 5, num_tx="3", timestamp_ms="1681395084027", optimistic_submission=True, parent_hash=block(9)),
        record(2, 6, extra={"any": "thing"}),
        record(3, 7, optimistic_submission=False),
    ]
    found = relay.received(written(tmp_path, rows))
    np.testing.assert_array_equal(found.num_tx, [3, np.nan, np.nan])
    np.testing.assert_array_equal(found.timestamp_ms, [1681395084027, np.nan, np.nan])
    np.testing.assert_array_equal(found.optimistic_submission, [1, np.nan, 0])
    assert found.parent_hash.tolist() == [block(9), "", ""]
    assert found.block_number is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": "-5"}, "value must be in [0, "),
        ({"value": 5}, "value must be a whole number as a decimal string, got 5"),
        ({"value": True}, "value must be a whole number as a decimal string, got true"),
        ({"value": None}, "value must be a whole number as a decimal string, got null"),
        ({"value": "0x5"}, 'value must be a whole number as a decimal string, got "0x5"'),
        ({"value": "5.5"}, 'value must be a whole number as a decimal string, got "5.5"'),
        ({"value": str(2**256)}, "value must be in [0, "),
        ({"slot": str(2**63)}, "slot must be in [0, 9223372036854775807], got 9223372036854775808"),
        ({"slot": True}, "slot must be a whole number as a decimal string, got true"),
        ({"gas_used": "many"}, "gas_used must be a whole number"),
        ({"block_hash": "0xab"}, "block_hash must be 0x and 64 hexadecimal digits"),
        ({"builder_pubkey": KEY[2:]}, "builder_pubkey must be 0x and 96 hexadecimal digits"),
        ({"proposer_fee_recipient": 7}, "proposer_fee_recipient must be 0x and 40 hexadecimal digits, got 7"),
        ({"parent_hash": ""}, "parent_hash must be 0x and 64 hexadecimal digits"),
        ({"num_tx": "-1"}, "num_tx must be in [0, "),
        ({"timestamp_ms": str(2**53 + 1)}, "timestamp_ms must be in [0, 9007199254740992], got 9007199254740993"),
        ({"optimistic_submission": "true"}, 'optimistic_submission must be true or false, got "true"'),
    ],
)
def test_refuses_with_row_and_field(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = written(tmp_path, [record(1, 5), record(2, 6), {**record(3, 7), **change}])
    for read in (relay.received, relay.delivered):
        with pytest.raises(ValueError, match=re.escape(f"{path}, row 3: {message}")):
            read(path)


@pytest.mark.parametrize("name", list(record(1, 1)))
def test_refuses_a_record_without_a_field(tmp_path: Path, name: str) -> None:
    row = record(2, 6)
    del row[name]
    path = written(tmp_path, [record(1, 5), row])
    with pytest.raises(ValueError, match=re.escape(f"{path}, row 2: has no field {name}")):
        relay.delivered(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "an empty list"),
        ({"code": 400, "message": "no"}, "must be a list, got "),
        (None, "must be a list, got null"),
        ([[]], "row 1: must be an object, got []"),
    ],
)
def test_refuses_answers_of_another_shape(tmp_path: Path, server, value: Any, message: str) -> None:
    path = written(tmp_path, value)
    server.replies(server.Reply(body=value))
    for source, read in itertools.product((path, server.url), (relay.received, relay.delivered)):
        with pytest.raises(ValueError, match=re.escape(message)) as caught:
            read(source)
        assert str(caught.value).startswith(str(source))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(f"cannot read {tmp_path / 'none'}: No such file or directory")):
        relay.delivered(tmp_path / "none")
    path = tmp_path / "cut.json"
    path.write_text(json.dumps([record(1, 5)])[:-20])
    with pytest.raises(ValueError, match=re.escape(f"{path} is not valid JSON: ")):
        relay.received(path)


def test_one_block_of_several_relays_is_one_payment(tmp_path: Path) -> None:
    """Also where the relays write the hash in another case, or know more about the block."""
    hashed = "0x" + "aB" * 32
    first = written(tmp_path, [record(1, 5), record(3, 0), record(2, 6, of=hashed)], "a.json")
    second = written(tmp_path, [record(2, 6, of=hashed.lower(), num_tx="7"), record(4, 8)], "b.json")
    third = written(tmp_path, [record(2, 6, of=hashed)], "c.json")
    found = relay.delivered(first, second, third)
    assert found.slot.tolist() == [1, 2, 3, 4]
    assert found.payment_wei.tolist() == [5, 6, 0, 8]
    assert found.records.tolist() == [1, 3, 1, 1]
    assert found.block_hash[1] == hashed.lower()
    assert (found.rows, found.paid, found.zero, found.missing) == (4, 3, 1, 0)
    assert (found.received, found.duplicates) == ((3, 2, 1), 2)
    assert found.bids.rows == 6
    np.testing.assert_array_equal(found.bids.num_tx, [np.nan] * 3 + [7] + [np.nan] * 2)


CONFLICTS = {
    "two blocks": [record(2, 6), record(2, 7, of=block(99))],
    "two values": [record(2, 6), record(2, 7)],
    "two blocks of one value": [record(2, 6), record(2, 6, of=block(99)), record(2, 6)],
}


@pytest.mark.parametrize("rows", CONFLICTS.values(), ids=CONFLICTS.keys())
def test_conflicts_are_refused_or_unknown(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = written(tmp_path, [record(1, 5), *rows, record(3, 8)])
    with pytest.raises(
        ValueError, match="1 of 3 slots have conflicting payloads, the first slot 2: block 0x"
    ) as caught:
        relay.delivered(path)
    assert f"{block(2)} of 6 wei" in str(caught.value)
    found = relay.delivered(path, conflicts="unknown")
    assert found.slot.tolist() == [1, 2, 3]
    assert found.payment_wei.tolist() == [5, None, 8]
    np.testing.assert_array_equal(found.payment_eth, [5e-18, np.nan, 8e-18])
    assert found.conflicts.tolist() == [2]
    assert (found.rows, found.paid, found.missing, found.duplicates) == (3, 2, 1, 0)
    assert found.records.tolist() == [1, len(rows), 1]
    assert found.block_hash[1] == ""


def test_a_block_in_two_slots_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [record(1, 5, of=block(7)), record(2, 5, of=block(7))])
    with pytest.raises(ValueError, match=f"block {block(7)} is in slot 1 and in slot 2"):
        relay.delivered(path, conflicts="unknown")


def test_one_page_of_a_relay(server) -> None:
    plays_relay(server, [record(slot, slot) for slot in range(1, 31)])
    found = relay.delivered(server.url, limit=10)
    assert found.slot.tolist() == list(range(21, 31))
    assert [asked.query for asked in server.asked] == [{"limit": ["10"]}]
    found = relay.delivered(server.url + "/", cursor=15, limit=5)
    assert found.slot.tolist() == list(range(11, 16))
    assert server.asked[-1].query == {"limit": ["5"], "cursor": ["15"]}
    found = relay.delivered(server.url, slot=found.slot[0] - 4)  # a NumPy integer
    assert (found.slot.tolist(), server.asked[-1].query) == ([7], {"slot": ["7"], "limit": ["100"]})


def test_pages_to_a_count(server) -> None:
    plays_relay(server, [record(slot, slot) for slot in range(1, 31)])
    found = relay.delivered(server.url, limit=10, count=15)
    assert found.slot.tolist() == list(range(12, 31))  # the slot where pages meet is asked for twice, and kept once
    assert (found.received, found.duplicates) == ((19,), 0)
    assert [asked.query.get("cursor") for asked in server.asked] == [None, ["21"]]


def test_pages_to_a_slot(server) -> None:
    plays_relay(server, [record(slot, slot) for slot in range(1, 31)])
    found = relay.delivered(server.url, limit=10, cursor=28, down_to=14)
    assert found.slot.tolist() == list(range(14, 29))
    assert found.left_out == 4  # slots 10 to 13 came with the last page
    assert len(server.asked) == 2


def test_pages_to_the_end_of_what_a_relay_has(server) -> None:
    plays_relay(server, [record(slot, slot) for slot in range(10, 31)])
    for options in ({"down_to": 1}, {"count": 1000}):
        found = relay.delivered(server.url, limit=10, **options)
        assert found.slot.tolist() == list(range(10, 31))
        assert found.left_out == 0


def test_a_relay_that_caps_its_pages(server) -> None:
    plays_relay(server, [record(slot, slot) for slot in range(1, 31)], cap=4)
    assert relay.delivered(server.url, limit=100, down_to=1).slot.tolist() == list(range(1, 31))


def test_a_slot_whose_records_part_over_two_pages(server) -> None:
    held = [record(6, 6), record(5, 5), record(4, 4), record(4, 9, of=block(99)), record(3, 3)]
    plays_relay(server, held)
    found = relay.delivered(server.url, limit=3, down_to=1, conflicts="unknown")
    assert found.slot.tolist() == [3, 4, 5, 6]
    assert (found.conflicts.tolist(), found.bids.rows) == ([4], 5)


def test_a_slot_that_fills_a_page_is_refused(server) -> None:
    plays_relay(server, [record(4, 4, of=block(number)) for number in range(20)])
    with pytest.raises(ValueError, match=r"cursor=4: slot 4 fills a page of 10, so that more of it may be hidden"):
        relay.delivered(server.url, limit=10, down_to=1)


def test_a_relay_that_ignores_the_cursor_is_refused(server) -> None:
    server.replies(server.Reply(body=[record(slot, slot) for slot in (30, 29)]))
    with pytest.raises(ValueError, match=r"cursor=29: the answer must not go beyond slot 29, got slot 30"):
        relay.delivered(server.url, limit=2, down_to=1)
    with pytest.raises(ValueError, match=r"slot=7&limit=100: the answer has slot 30"):
        relay.delivered(server.url, slot=7)


def test_requests_are_bounded(server) -> None:
    plays_relay(server, [record(slot, slot) for slot in range(1, 31)])
    with pytest.raises(ValueError, match=r"3 requests reach slot 21 only; raise requests, or ask for less"):
        relay.delivered(server.url, limit=4, down_to=1, requests=3)
    assert len(server.asked) == 3


def test_relays_with_and_without_the_slot(server, tmp_path: Path) -> None:
    """A relay that did not deliver in the slot gives an empty list, which is no error beside one that did."""
    plays_relay(server, [])
    path = written(tmp_path, [record(7, 5)])
    found = relay.delivered(server.url, path, down_to=None)
    assert (found.slot.tolist(), found.received) == ([7], (0, 1))
    with pytest.raises(ValueError, match="an empty list, no payload"):
        relay.delivered(server.url, server.url)
    plays_relay(server, [record(7, 5)])
    with pytest.raises(ValueError, match="all 1 payloads are below slot 8"):
        relay.delivered(server.url, down_to=8)


def test_filters_of_bids(server) -> None:
    server.replies(server.Reply(body=[record(7, 5)]))
    relay.received(server.url, slot=7, block_hash=block(7), block_number=9, builder_pubkey=KEY, limit=3)
    expected = {"slot": "7", "block_hash": block(7), "block_number": "9", "builder_pubkey": KEY, "limit": "3"}
    assert server.asked[-1].query == {name: [value] for name, value in expected.items()}


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda _, __: relay.delivered(), "delivered payloads must be read from at least one file or URL, got none"),
        (lambda file, _: relay.delivered(file, slot=7), "answer.json is a file, slot is for a request to a relay"),
        (lambda file, _: relay.delivered(file, count=7), "answer.json is a file, count is for a request to a relay"),
        (lambda file, _: relay.received(file, limit=7), "answer.json is a file, limit is for a request to a relay"),
        (lambda _, url: relay.delivered(url, slot=7, cursor=8), "slot asks for one slot and cannot go with cursor"),
        (lambda _, url: relay.delivered(url, slot=0), "slot must be a whole number of at least 1, got 0"),
        (lambda _, url: relay.delivered(url, slot=True), "slot must be a whole number of at least 1, got True"),
        (lambda _, url: relay.delivered(url, limit=1), "limit must be a whole number of at least 2, got 1"),
        (lambda _, url: relay.delivered(url, count=1.5), "count must be a whole number of at least 1, got 1.5"),
        (lambda _, url: relay.received(url, slot=-1), "slot must be a whole number of at least 1, got -1"),
        (lambda _, url: relay.delivered(url, conflicts="drop"), "conflicts must be 'refuse' or 'unknown', got 'drop'"),
        (lambda _, url: relay.delivered(url + "?a=1"), "a base URL must be http(s)://host[:port][/path], got"),
    ],
)
def test_arguments_that_are_refused(tmp_path: Path, server, read: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read(written(tmp_path, [record(1, 5)]), server.url)
    assert server.asked == []


def test_failures_of_a_relay(server) -> None:
    """One of each kind; all of them are in the tests of `web`."""
    good = server.Reply(body=[record(7, 5)])
    server.replies(server.Reply(status=429, headers={"Retry-After": "1"}), good)
    assert relay.delivered(server.url, client=QUICK).payment_wei.tolist() == [5]
    assert server.asked[1].at - server.asked[0].at >= 1.0
    for reply, message in (
        (server.Reply(status=429), "HTTP 429 Too Many Requests"),
        (server.Reply(status=500, body={"message": "internal server error"}), "HTTP 500 Internal Server Error: intern"),
        (server.Reply(status=400, body={"message": "maximum limit is 200"}), "HTTP 400 Bad Request: maximum limit is"),
        (server.Reply(delay=5.0), "no answer within 0.3 s"),
        (server.Reply(body=[record(7, 5)], cut=30), "the answer is cut off"),
        (server.Reply(body=b"[{]"), "is not valid JSON"),
        (server.Reply(body=[record(7, 5), {"slot": "6"}]), "row 2: has no field value"),
    ):
        server.replies(reply)
        for read in (relay.delivered, relay.received):
            with pytest.raises(ValueError, match=re.escape(message)) as caught:
                read(server.url, client=QUICK)
            assert str(caught.value).startswith(f"{server.url}/relay/v1/data/bidtraces/")


WEI = st.one_of(st.integers(0, 10**20), st.integers(0, 2**256 - 1))
RECORDS = st.lists(
    st.tuples(st.integers(0, 2**63 - 1), WEI, st.binary(min_size=32, max_size=32), st.none() | st.integers(0, 2**53)),
    min_size=1,
    max_size=20,
    unique_by=(lambda row: row[0], lambda row: row[2]),
)


@given(RECORDS, st.randoms())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_payloads_come_back_exactly(tmp_path: Path, rows: list, random: Any) -> None:
    """Written in the layout of the API, some of them twice, and read back to the wei."""
    written_rows = [
        record(slot, wei, of="0x" + name.hex(), **({} if number is None else {"num_tx": str(number)}))
        for slot, wei, name, number in rows
    ]
    again = [row for row in written_rows if random.random() < 0.3]
    shuffled = [*written_rows, *again]
    random.shuffle(shuffled)
    found = relay.delivered(written(tmp_path, shuffled))
    expected = sorted(rows)
    assert found.slot.tolist() == [slot for slot, *_ in expected]
    assert found.payment_wei.tolist() == [wei for _, wei, *_ in expected]
    assert found.block_hash.tolist() == ["0x" + name.hex() for _, _, name, _ in expected]
    np.testing.assert_array_equal(found.payment_eth, [wei / 10**18 for _, wei, *_ in expected])
    assert (found.rows, found.duplicates, found.received) == (len(rows), len(again), (len(shuffled),))
    assert found.rows == found.paid + found.zero
    assert found.bids.value_wei.tolist() == [int(row["value"]) for row in shuffled]


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=25),
    st.integers(4, 9),
    st.integers(2, 9),
    st.integers(1, 40),
)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages_give_what_one_answer_gives(server, slots: list[int], limit: int, cap: int, down_to: int) -> None:
    """Whatever the size of pages, at most three records of a slot: nothing is lost and nothing comes twice."""
    kept = [slot for at, slot in enumerate(slots) if slots[:at].count(slot) < 3]
    held = [record(slot, at, of=block(1000 + at)) for at, slot in enumerate(kept)]
    plays_relay(server, held, cap=max(cap, 4))
    wanted = sorted((row["slot"], row["block_hash"]) for row in held if int(row["slot"]) >= down_to)
    options: dict[str, Any] = {"limit": limit, "down_to": down_to, "conflicts": "unknown"}
    if not wanted:
        with pytest.raises(ValueError, match=r"an empty list|payloads are below slot"):
            relay.delivered(server.url, **options)
        return
    bids = relay.delivered(server.url, **options).bids
    assert sorted(zip(map(str, bids.slot), bids.block_hash, strict=True)) == wanted
