"""The reader of blocks: columns, counts, periods, and what it refuses."""

from __future__ import annotations

import csv
import datetime
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxstake.data import blocks, payments

HEADER = "block_number,slot,time_utc,kind,payment_eth,n_relays,base_fee_gwei,gas_used,num_tx\n"
ROWS = (
    "100,1000,2024-01-01T23:59:47Z,relay,0.25,2,13.5,21000.0,3\n"
    "101,1001,2024-01-01T23:59:59Z,local,,0,14.5,0,\n"
    "102,1003,2024-01-02T00:00:23Z,relay,0,1,,,7\n"
    "103,1004,2024-01-02T00:00:35Z,unknown,,,9,5,\n"
    "105,1010,2024-01-03T00:01:47Z,relay,0.5,1,9,5,1\n"
)


def written(folder: Path, text: str) -> Path:
    path = folder / "blocks.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["mev_blocks_sample.csv", "mev_blocks_contiguous.csv"])
def test_reads_the_real_files(shared: Path, name: str) -> None:
    """Every column against the csv module."""
    path = shared / "data" / name
    with path.open() as file:
        rows = list(csv.DictReader(file))
    found = blocks.read(path)
    for column in ("slot", "block_number"):
        assert getattr(found, column).dtype == np.int64
        assert getattr(found, column).tolist() == [int(row[column]) for row in rows]
    assert found.kind.tolist() == [row["kind"] for row in rows]
    assert [f"{time}Z" for time in found.time_utc] == [row["time_utc"] for row in rows]
    assert found.time_utc.dtype == "datetime64[s]"
    for column in ("payment_eth", "n_relays", "base_fee_gwei", "gas_used", "num_tx"):
        expected = [float(row[column] or "nan") for row in rows]
        np.testing.assert_array_equal(getattr(found, column), expected)
    assert found.rows == len(rows) == found.paid + found.zero + found.missing
    assert found.missing == sum(row["payment_eth"] == "" for row in rows) == sum(row["kind"] != "relay" for row in rows)
    assert found.left_out == 0
    assert found.starts.tolist() == [True] + [False] * (len(rows) - 1)


def test_missed_slots_of_the_real_files(shared: Path) -> None:
    """0.94 % of slots by the description of the data, with every block and with every twentieth."""
    every = blocks.read(shared / "data" / "mev_blocks_contiguous.csv")
    span = int(every.slot[-1] - every.slot[0]) + 1
    assert every.missed_slots == every.slots_without_row == span - every.rows == 134
    assert every.missed_slots / span == pytest.approx(0.0094, abs=0.0002)
    twentieth = blocks.read(shared / "data" / "mev_blocks_sample.csv")
    span = int(twentieth.slot[-1] - twentieth.slot[0]) + 1
    assert twentieth.slots_without_row == span - twentieth.rows
    assert twentieth.missed_slots / span == pytest.approx(0.0094, abs=0.0005)


def test_agrees_with_the_reader_of_payments(shared: Path) -> None:
    path = shared / "data" / "mev_blocks_contiguous.csv"
    found, plain = blocks.read(path), payments.read(path)
    assert isinstance(found, payments.Payments)
    np.testing.assert_array_equal(found.payment_eth, plain.payment_eth)
    for name in ("rows", "paid", "zero", "missing"):
        assert getattr(found, name) == getattr(plain, name)


def test_reads_by_hand(tmp_path: Path) -> None:
    found = blocks.read(written(tmp_path, HEADER + ROWS))
    assert (found.rows, found.paid, found.zero, found.missing) == (5, 2, 1, 2)
    assert (found.slots_without_row, found.missed_slots) == (6, 5)  # 1002, 1005 to 1009; block 104 is not in the file
    np.testing.assert_array_equal(found.gas_used, [21000, 0, math.nan, 5, 5])
    np.testing.assert_array_equal(found.n_relays, [2, 0, 1, math.nan, 1])
    np.testing.assert_array_equal(found.base_fee_gwei, [13.5, 14.5, math.nan, 9, 9])
    assert found.time_utc[2] == np.datetime64("2024-01-02T00:00:23")


def test_columns_that_a_file_may_lack(tmp_path: Path) -> None:
    found = blocks.read(written(tmp_path, "note,payment_eth,slot\nx,0.5,7\ny,,9\n"))
    assert found.slot.tolist() == [7, 9]
    assert (found.slots_without_row, found.missed_slots) == (1, None)
    absent = ("block_number", "time_utc", "kind", "n_relays", "base_fee_gwei", "gas_used", "num_tx")
    assert [getattr(found, name) for name in absent] == [None] * 7
    kept = blocks.by_slot(found, first=9)
    assert (kept.kind, kept.missed_slots, kept.left_out) == (None, None, 1)
    with pytest.raises(ValueError, match="blocks without the column time_utc cannot be chosen by day"):
        blocks.by_day(found, first="2024-01-01")


def line(**fields: object) -> str:
    """The second row, which would be right but for these fields."""
    names = HEADER.strip().split(",")
    values = dict(zip(names, ROWS.splitlines()[1].split(","), strict=True)) | fields
    return HEADER + ROWS.splitlines()[0] + "\n" + ",".join(str(values[name]) for name in names) + "\n"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"slot": 1000}, "slot must increase, but 1000 equals that of the row before"),
        ({"slot": 999}, "slot must increase, but 999 is below 1000 of the row before"),
        ({"block_number": 100}, "block_number must increase, but 100 equals that of the row before"),
        ({"block_number": 7}, "block_number must increase, but 7 is below 100 of the row before"),
        ({"block_number": 102}, "block_number 102 is 2 blocks after the row before, in 1 slots"),
        (
            {"time_utc": "2024-01-01T23:59:47Z"},
            "time_utc must increase, but 2024-01-01 23:59:47 equals that of the row",
        ),
        ({"slot": ""}, "slot is empty"),
        ({"slot": "x"}, "slot 'x' is not a number"),
        ({"slot": "1001.5"}, "slot must be a whole number below 2^53, got 1001.5"),
        ({"slot": "-1"}, "slot must be at least 0 and finite, got -1"),
        ({"slot": "1e300"}, "slot must be a whole number below 2^53, got 1e300"),
        ({"kind": " "}, "kind is empty"),
        ({"time_utc": ""}, "time_utc '' is not a time YYYY-MM-DDThh:mm:ssZ"),
        ({"time_utc": "yesterday"}, "time_utc 'yesterday' is not a time"),
        ({"time_utc": "2024-01-02"}, "time_utc must be a day and whole seconds in UTC, got 2024-01-02"),
        ({"time_utc": "2024-01-02T00:00:00+01:00"}, "time_utc must be a day and whole seconds in UTC, got 2024-01-02T"),
        ({"time_utc": "2024-01-02T00:00:00.5Z"}, "time_utc must be a day and whole seconds in UTC, got 2024-01-02T"),
        ({"payment_eth": "-1"}, "payment_eth must be at least 0 and finite, got -1"),
        ({"payment_eth": "nan"}, "payment_eth must be at least 0 and finite, got nan"),
        ({"base_fee_gwei": "-1"}, "base_fee_gwei must be at least 0 and finite, got -1"),
        ({"gas_used": "inf"}, "gas_used must be at least 0 and finite, got inf"),
        ({"num_tx": "1.5"}, "num_tx must be a whole number below 2^53, got 1.5"),
        ({"num_tx": "1,2"}, "10 fields under 9 columns"),
    ],
)
def test_refuses_with_file_line_and_value(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    path = written(tmp_path, line(**fields))
    with pytest.raises(ValueError, match=re.escape(f"{path}, line 3: {message}")):
        blocks.read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected a header row with the columns slot, payment_eth"),
        (HEADER, "has a header but no rows"),
        ("slot\n1\n", "has no column payment_eth; found: slot"),
        ("payment_eth\n1\n", "has no column slot; found: payment_eth"),
        ("slot,payment_eth,kind,kind\n", "has more than one column kind; found: slot, payment_eth, kind, kind"),
    ],
)
def test_refuses_files(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=re.escape(f"{path} {message}")):
        blocks.read(path)


def test_a_range_of_slots(tmp_path: Path) -> None:
    found = blocks.by_slot(blocks.read(written(tmp_path, HEADER + ROWS)), first=1001, last=1004)
    assert found.slot.tolist() == [1001, 1003, 1004]
    assert found.kind.tolist() == ["local", "relay", "unknown"]
    assert (found.rows, found.paid, found.zero, found.missing, found.left_out) == (3, 0, 1, 2, 2)
    assert (found.slots_without_row, found.missed_slots) == (1, 1)
    assert found.starts.tolist() == [True, False, False]


def test_days_that_are_left_out_part_the_rows_around_them(tmp_path: Path) -> None:
    whole = blocks.read(written(tmp_path, HEADER + ROWS))
    found = blocks.by_day(whole, without=["2024-01-02"])
    assert found.slot.tolist() == [1000, 1001, 1010]
    assert found.starts.tolist() == [True, False, True]
    assert (found.left_out, found.slots_without_row, found.missed_slots) == (2, 0, 0)
    again = blocks.by_slot(found, last=1009)
    assert (again.slot.tolist(), again.starts.tolist(), again.left_out) == ([1000, 1001], [True, False], 3)


def test_days_are_bounds_and_dates_or_texts(tmp_path: Path) -> None:
    whole = blocks.read(written(tmp_path, HEADER + ROWS))
    day = datetime.date(2024, 1, 2)
    found = blocks.by_day(whole, first=day, last="2024-01-02")
    assert found.slot.tolist() == [1003, 1004]
    assert blocks.by_day(whole).left_out == 0
    assert blocks.by_day(whole, without=iter([day])).rows == 3


def test_days_of_the_real_file(shared: Path) -> None:
    whole = blocks.read(shared / "data" / "mev_blocks_contiguous.csv")
    first, second = (blocks.by_day(whole, first=day, last=day) for day in ("2024-01-10", "2024-01-11"))
    assert first.rows + second.rows == whole.rows
    assert (first.left_out, second.left_out) == (second.rows, first.rows)
    assert 0 <= whole.missed_slots - first.missed_slots - second.missed_slots <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": "2025-01-01"}, "no row of 5 is left within days 2025-01-01 to the last"),
        ({"without": ["2024-01-01", "2024-01-02", "2024-01-03"]}, "no row of 5 is left within days the first to the"),
        ({"without": ["2024-01-04"]}, "without 2024-01-04: no row is of that day; the rows are of 2024-01-01 to 2024-"),
        ({"first": "01/02/2024"}, "'01/02/2024' is not a day YYYY-MM-DD"),
        ({"last": datetime.datetime(2024, 1, 2, 3)}, "a day must be a date without a time, got 2024-01-02 03:00:00"),
    ],
)
def test_periods_that_are_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    whole = blocks.read(written(tmp_path, HEADER + ROWS))
    with pytest.raises(ValueError, match=re.escape(message)):
        blocks.by_day(whole, **options)


def test_an_empty_range_of_slots(tmp_path: Path) -> None:
    whole = blocks.read(written(tmp_path, HEADER + ROWS))
    with pytest.raises(ValueError, match="no row of 5 is left within slots the first to 999"):
        blocks.by_slot(whole, last=999)


STEPS = st.lists(
    st.tuples(st.integers(1, 9), st.integers(0, 8), st.none() | st.floats(0, 1e6), st.sampled_from(["relay", "local"])),
    min_size=1,
    max_size=30,
)


@given(STEPS, st.data())
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_comes_back_and_every_slot_is_counted(tmp_path: Path, steps: list, data: st.DataObject) -> None:
    """Slots and blocks by steps; the parts of a file cut anywhere add up to it."""
    slot = np.cumsum([step for step, *_ in steps])
    block = np.cumsum([max(1, step - missed) for step, missed, *_ in steps])
    text = "slot,block_number,payment_eth,kind\n" + "".join(
        f"{s},{b},{'' if paid is None else repr(paid)},{kind}\n"
        for s, b, (_, _, paid, kind) in zip(slot, block, steps, strict=True)
    )
    found = blocks.read(written(tmp_path, text))
    assert found.slot.tolist() == slot.tolist()
    assert found.block_number.tolist() == block.tolist()
    np.testing.assert_array_equal(found.payment_eth, [math.nan if paid is None else paid for *_, paid, _ in steps])
    assert found.kind.tolist() == [kind for *_, kind in steps]
    span = int(slot[-1] - slot[0]) + 1
    assert found.slots_without_row == len(set(range(int(slot[0]), int(slot[-1]) + 1)) - set(slot.tolist()))
    assert found.missed_slots == span - (int(block[-1] - block[0]) + 1)
    cut = data.draw(st.sampled_from(slot.tolist()))
    parts = [blocks.by_slot(found, last=cut)] + ([blocks.by_slot(found, first=cut + 1)] if cut < slot[-1] else [])
    assert sum(part.rows for part in parts) == found.rows
    assert all(part.rows + part.left_out == found.rows for part in parts)
    assert sum(part.missing for part in parts) == found.missing
