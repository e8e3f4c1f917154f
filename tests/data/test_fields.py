"""Fields of JSON answers: what is read exactly, and what is refused with its row and field."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxstake.data import fields


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.json is not valid JSON: Expecting value at line 1, column 1"),
        (b'[\n{"a": 1,}]', "a.json is not valid JSON: "),
        (b"[1] 2", "a.json is not valid JSON: Extra data at line 1, column 5"),
        (b"<html>busy</html>", "a.json is not valid JSON: Expecting value at line 1, column 1"),
        (b'"\xff"', "a.json is not UTF-8 text: invalid start byte at byte 1"),
        (b"[" * 100_000, "a.json is not valid JSON: nested too deeply"),
        (b"1" * 5000, "a.json is not valid JSON: Exceeds the limit"),
        (b'{"a": 1, "b": 2, "a": 1}', "a.json is not valid JSON: the field a appears twice in an object"),
    ],
)
def test_text_that_is_not_json(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        fields.parse("a.json", content)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_ignored() -> None:
    assert fields.parse("a.json", b"\xef\xbb\xbf[1]") == [1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "a.json must be a list, got {}"),
        (None, "a.json must be a list, got null"),
        ([], "a.json is an empty list"),
        ([{}, 5], "a.json, row 2: must be an object, got 5"),
        ("x" * 500, 'a.json must be a list, got "xxx'),
    ],
)
def test_what_is_no_list_of_objects(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        fields.rows("a.json", value)
    assert len(str(caught.value)) < 150
    assert fields.rows("a.json", [], empty=True) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "a.json must be an object with the field data, got []"),
        ({"code": 1}, "a.json has no field data; found: code"),
    ],
)
def test_what_has_no_member(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        fields.member("a.json", value, "data")


NOT_WHOLE = [
    5,
    5.0,
    True,
    False,
    None,
    [],
    {},
    "",
    " 5",
    "5 ",
    "+5",
    "0x5",
    "5.0",
    "5e3",
    "1_000",
    "٥",
    "--5",
    "1" * 79,
]


@pytest.mark.parametrize("value", NOT_WHOLE)
@pytest.mark.parametrize("signed", [False, True])
def test_what_is_no_decimal_string(value: object, signed: bool) -> None:
    with pytest.raises(ValueError, match=r"a.json, row 2: n must be a whole number as a decimal string, got "):
        fields.wholes("a.json", [{"n": "1"}, {"n": value}], "n", signed=signed)


def test_bounds_of_whole_numbers() -> None:
    def read(text: str, **options: object) -> int:
        return fields.wholes("a.json", [{"n": text}], "n", **options)[0]

    assert read("-9223372036854775808", signed=True) == -(2**63)
    assert read("18446744073709551615", most=fields.UINT64) == 2**64 - 1
    assert read(str(2**256 - 1), most=fields.UINT256) == 2**256 - 1
    assert read("007") == 7
    for text, options in (
        ("-1", {}),
        (str(2**63), {}),
        (str(2**63), {"signed": True}),
        (str(-(2**63) - 1), {"signed": True}),
        (str(2**64), {"most": fields.UINT64}),
        (str(2**256), {"most": fields.UINT256}),
    ):
        with pytest.raises(ValueError, match=rf"a.json, row 1: n must be in \[.*\], got {text}"):
            read(text, **options)


def test_a_field_that_is_missing() -> None:
    for read in (fields.wholes, fields.flags, fields.inner):
        with pytest.raises(ValueError, match=r"a\.json, row 1: has no field n"):
            read("a.json", [{"m": "1"}], "n")


@pytest.mark.parametrize("value", ["", "aa", "0xa", "0xaaa", "0xgg", "0xaa\n", 10, None])
def test_what_is_no_hexadecimal(value: object) -> None:
    with pytest.raises(ValueError, match="row 1: h must be 0x and 2 hexadecimal digits, got"):
        fields.hexes("a.json", [{"h": value}], "h", size=1)


@pytest.mark.parametrize("value", ["true", 1, 0, None])
def test_what_is_no_flag(value: object) -> None:
    with pytest.raises(ValueError, match="row 1: f must be true or false, got"):
        fields.flags("a.json", [{"f": value}], "f")


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_numbers_come_back_exactly(values: list[int]) -> None:
    content = json.dumps([{"n": str(value)} for value in values]).encode()
    found = fields.wholes("a.json", fields.rows("a.json", fields.parse("a.json", content)), "n", signed=True)
    assert found == values
    assert np.array(found, np.int64).tolist() == values


@given(st.lists(st.integers(0, 2**256 - 1), min_size=1))
def test_objects_hold_integers_of_any_size(values: list[int]) -> None:
    found = fields.objects(values)
    assert found.dtype == object
    assert found.sum() == sum(values)
