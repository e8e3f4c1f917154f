"""The reader of payments: what it reads, what it counts, and what it refuses."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxstake.data import payments

HEADER = "slot,kind,payment_eth\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "blocks.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_reads_the_real_sample(shared: Path) -> None:
    found = payments.read(shared / "data" / "mev_blocks_sample.csv")
    assert (found.rows, found.paid, found.zero, found.missing) == (50_830, 46_278, 0, 4_552)
    assert found.payment_eth.shape == (50_830,)
    assert found.payment_eth[0] == 0.008817995
    assert np.nanmean(found.payment_eth) == pytest.approx(0.13729, abs=1e-5)


def test_counts_paid_zero_and_missing_and_keeps_the_order(tmp_path: Path) -> None:
    text = HEADER + "1,relay,0.25\n2,local,\n3,relay,0\n4,relay,1e-3\n5,local,  \n6,relay,0.0\n"
    found = payments.read(written(tmp_path, text))
    np.testing.assert_array_equal(found.payment_eth, [0.25, math.nan, 0.0, 1e-3, math.nan, 0.0])
    assert (found.rows, found.paid, found.zero, found.missing) == (6, 2, 2, 2)


@pytest.mark.parametrize(
    "text",
    [
        "payment_eth\n0.1\n\n0.2\n",
        "payment_eth\r\n0.1\r\n\r\n0.2\r\n",
        "\ufeffpayment_eth\n0.1\n\n0.2",
        " payment_eth ,slot\n0.1,1\n,2\n 0.2 ,3\n\n\n",
        '"payment_eth","note"\n"0.1","a, b"\n,"two\nlines"\n0.2,\n',
    ],
    ids=["one column", "windows lines", "byte-order mark", "spaces and empty end", "quotes"],
)
def test_shapes_of_files(tmp_path: Path, text: str) -> None:
    np.testing.assert_array_equal(payments.read(written(tmp_path, text)).payment_eth, [0.1, math.nan, 0.2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected a header row with the column payment_eth"),
        ("\n\n", "is empty; expected a header row with the column payment_eth"),
        (HEADER, "has a header but no rows"),
        ("slot,value\n1,2\n", "has no column payment_eth; found: slot, value"),
        ("payment_eth,payment_eth\n1,2\n", "has more than one column payment_eth; found: payment_eth, payment_eth"),
        (HEADER + "1,relay,0.1\n2,relay,abc\n", "line 3: payment_eth 'abc' is not a number"),
        (HEADER + "1,relay,-0.5\n", "line 2: payment_eth must be at least 0 and finite, got -0.5"),
        (
            HEADER + "1,relay,0.1\n2,relay,0.2\n3,relay,inf\n",
            "line 4: payment_eth must be at least 0 and finite, got inf",
        ),
        (HEADER + "1,relay,nan\n", "line 2: payment_eth must be at least 0 and finite, got nan"),
        (HEADER + "1,relay,1e999\n", "line 2: payment_eth must be at least 0 and finite, got 1e999"),
        (HEADER + "1,relay,0.1\n2,relay\n", "line 3: 2 fields under 3 columns"),
        (HEADER + "1,relay,0.1,9\n", "line 2: 4 fields under 3 columns"),
        (HEADER + "1,relay,0.1\n\n2,relay,0.2\n", "line 4: it follows an empty line"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
)
def test_refuses_with_file_line_and_value(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        payments.read(path)
    assert str(path) in str(caught.value)


def test_line_numbers_count_lines_inside_quotes(tmp_path: Path) -> None:
    path = written(tmp_path, 'payment_eth,note\n0.1,"two\nlines"\n-1,x\n')
    with pytest.raises(ValueError, match="line 4: payment_eth must be"):
        payments.read(path)


def test_refuses_bytes_in_the_middle_that_are_not_text(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not UTF-8 text: invalid start byte at byte"):
        payments.read(written(tmp_path, b"payment_eth\n0.1\n\xff\n"))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(f"cannot read {tmp_path / 'none.csv'}: No such file or directory")):
        payments.read(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=re.escape(f"cannot read {tmp_path}: Is a directory")):
        payments.read(str(tmp_path))


def test_refuses_what_csv_cannot_read(tmp_path: Path) -> None:
    path = written(tmp_path, f'payment_eth,note\n0.1,"{"x" * 200_000}"\n')
    with pytest.raises(ValueError, match="is not a CSV file: field larger than field limit"):
        payments.read(path)


@given(st.lists(st.none() | st.floats(0, 1e6), min_size=1, max_size=40))
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_comes_back(tmp_path: Path, values: list[float | None]) -> None:
    rows = "".join(f"{i},{'' if value is None else repr(value)}\n" for i, value in enumerate(values))
    found = payments.read(written(tmp_path, "slot,payment_eth\n" + rows))
    np.testing.assert_array_equal(found.payment_eth, [math.nan if value is None else value for value in values])
    assert found.rows == len(values) == found.paid + found.zero + found.missing


def test_a_million_rows_take_seconds(tmp_path: Path) -> None:
    row = "18320007,7509692,2023-10-10T12:18:47Z,relay,0.008817995,2,7.383094,18526797.0,227\n"
    header = "block_number,slot,time_utc,kind,payment_eth,n_relays,base_fee_gwei,gas_used,num_tx\n"
    path = written(tmp_path, header + row * 200_000)
    start = time.process_time()
    assert payments.read(path).rows == 200_000
    assert time.process_time() - start < 2.0  # a fifth of a million; generous for a busy machine
