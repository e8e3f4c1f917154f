"""The reprinted tables against what the document's own code prints, line by line and cell by cell."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re

import jax
import numpy as np
import pytest

from jaxstake.articles import microstaking_analysis, tables
from jaxstake.articles.tables import layout
from jaxstake.articles.tables.layout import Column, Line, Table
from tests.oracles import printed_code

NOT_PRINTED = {"allocations", "simulation", "key-findings"}
"""Tables of what the documents compute or claim and do not print."""

WIDER = {"advice"}
"""Tables whose words are longer in English than their columns."""

SECTIONS = ["1.1", "1.2", "2.1", "2.2", "2.3", "3.1", "3.2", "3.3", "4.1", "4.2", "5.1", "5.2", "6.1", "6.2"]
ENGLISH = {
    "保守": "conservative",
    "標準": "standard",
    "激進": "aggressive",
    "全額質押": "full stake",
    "95%質押": "95% stake",
    "質押池(LSD)": "pool (LSD)",
    "質押池(ETH2x)": "pool (ETH2x)",
    "穩定": "stable",
    "下降": "falling",
    "大幅下降": "falling sharply",
    "上升": "rising",
    "立即退出無優勢": "no gain in leaving now",
    "考慮退出或轉移": "consider leaving or moving",
    "建議退出": "leave",
    "增加質押": "stake more",
}
UNITS = {"小時": "hours", "天": "days"}
NUMBER = re.compile(r"0x[0-9a-f]+|[+-]?\d[\d,]*(?:\.\d+)?%?")
CHINESE = re.compile(r"[\u4e00-\u9fff]")

BY_NAME = pytest.mark.parametrize("name", list(tables.TABLES))
BY_SECTION = pytest.mark.parametrize("section", SECTIONS)


@pytest.fixture(scope="module")
def printed(shared) -> dict[str, list[str]]:
    """Lines that the document's code prints, by section, without the empty ones."""
    output = printed_code.run(printed_code.statements(printed_code.read(shared / "documents"))).output
    return {section: full_lines(text) for section, text in output.items()}


@pytest.fixture(scope="module")
def ours() -> dict[str, list[tuple[str, str]]]:
    """Lines of the reprinted tables with their names, by section, in order."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name in tables.TABLES:
        if name not in NOT_PRINTED:
            table = tables.get(name)
            lines = full_lines(layout.render(table))
            found.setdefault(table.section, []).extend((name, line) for line in lines)
    return found


def full_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def is_rule(line: str) -> bool:
    return set(line) <= set("=-")


def rows_after_rules(lines: list[str]) -> list[bool]:
    """For every line whether it is a row of values: has columns, and a thin rule or such a row above it."""
    found: list[bool] = []
    for above, line in itertools.pairwise(["", *lines]):
        found.append("|" in line and (set(above) == {"-"} or found[-1:] == [True]))
    return found


def compare_cells(theirs: str, ours: str) -> int:
    """Numbers to the last sign and space, words in translation; the number of cells."""
    cells = list(zip(theirs.split("|"), ours.split("|"), strict=True))
    for their, our in cells:
        if CHINESE.search(their):
            assert our.strip() == ENGLISH[their.strip()]
        else:
            assert our.strip() == their.strip()
    return len(cells)


def in_units(text: str) -> str:
    for word, unit in UNITS.items():
        text = text.replace(f" {word}", f" {unit}")
    return text.strip()


# --- The document's output ------------------------------------------------------------------------------------------


def test_every_section_of_the_output_is_reprinted(printed, ours):
    assert list(printed) == SECTIONS
    assert list(ours) == SECTIONS
    for section in SECTIONS:
        assert len(printed[section]) == len(ours[section]) > 0
    assert {name for lines in ours.values() for name, _ in lines} | NOT_PRINTED == set(tables.TABLES)


@BY_SECTION
def test_lines_are_of_one_kind(printed, ours, section):
    """Rules below rules and of one length, rows below rows with as many cells, in the order of the document."""
    theirs, (names, reprinted) = printed[section], zip(*ours[section], strict=True)
    assert rows_after_rules(theirs) == rows_after_rules(list(reprinted))
    for name, their, our in zip(names, theirs, reprinted, strict=True):
        assert is_rule(their) == is_rule(our)
        assert their.count("|") == our.count("|")
        if is_rule(their) and not (name in WIDER and their[0] == "-"):
            assert our == their
    assert not any(CHINESE.search(line) for line in reprinted)


@BY_SECTION
@pytest.mark.usefixtures("only_x64")
def test_numbers_are_the_documents(printed, ours, section):
    """All that the document prints below its headings, as text: no number of the output is left out."""
    theirs, reprinted = printed[section], [line for _, line in ours[section]]
    for their, our, is_row in zip(theirs, reprinted, rows_after_rules(theirs), strict=True):
        if is_row:
            assert compare_cells(their, our) == our.count("|") + 1
        elif "|" not in their:
            assert NUMBER.findall(our) == NUMBER.findall(their)
            if NUMBER.search(value := their.rpartition(": ")[2]) and ": " in their:
                assert our.rpartition(": ")[2].strip() == in_units(value)


@BY_SECTION
@pytest.mark.usefixtures("only_x64")
def test_columns_are_as_wide_as_printed(printed, ours, section):
    """Headings and cells; a heading of the document counts its signs, as Python's format does."""
    for their, (name, our) in zip(printed[section], ours[section], strict=True):
        if "|" in their and name not in WIDER:
            assert [len(cell) for cell in our.split("|")] == [len(cell) for cell in their.split("|")]


def test_the_comparison_sees_what_differs():
    assert compare_cells("  保守 |  4.50%", "conservative | 4.50%") == 2
    for theirs, other in (("4.50% | 1", "4.51% | 1"), ("保守 | 1", "standard | 1"), ("1 | 2", "1 | 2 ETH")):
        with pytest.raises(AssertionError):
            compare_cells(theirs, other)
    with pytest.raises(ValueError, match="zip"):
        compare_cells("1 | 2", "1 | 2 | 3")
    assert NUMBER.findall("懲罰 2^25 = -33,554.5% 0x0f") == ["2", "25", "-33,554.5%", "0x0f"]
    assert rows_after_rules(["=", "a | b", "-", "1 | 2", "3 | 4", "5"]) == [False, False, False, True, True, False]


# --- What is not printed --------------------------------------------------------------------------------------------


def test_allocations_are_what_the_optimiser_returns(shared, tolerance):
    code = printed_code.run(printed_code.statements(printed_code.read(shared / "documents")))
    theirs = code.optimizer.optimize_validator_count()
    rows = tables.get("allocations").rows
    assert len(rows) == len(theirs) == 31
    for row, their in zip(rows, theirs, strict=True):
        assert set(row) == set(their)
        np.testing.assert_allclose([float(row[key]) for key in their], list(their.values()), rtol=tolerance)


def test_the_simulation_returns_nothing():
    table = tables.get("simulation")
    assert table.lines[0].value == 10_000
    assert {row["result"]: row["values"] for row in table.rows} == {
        "security_score": 0,
        "liquidity_score": 0,
        "centralization_risk": 0,
    }


def test_key_findings_are_the_claims():
    rows = tables.get("key-findings").rows
    findings = microstaking_analysis.KEY_FINDINGS
    assert [(row["name"], row["change"], row["printed"]) for row in rows] == [
        (finding.name, finding.change, finding.printed) for finding in findings
    ]


# --- Every table ----------------------------------------------------------------------------------------------------


@BY_NAME
def test_tables_know_their_names_and_fit_their_columns(name):
    table = tables.get(name)
    assert table.name == name
    assert re.fullmatch(r"\d\.\d", table.section)
    assert bool(table.columns) == bool(table.rule)
    for column in table.columns:
        assert len(column.heading) <= column.width
        if column.format and (width := re.search(r"\d+", column.format)):
            assert int(width[0]) in (column.width, column.width - bool(column.after))
    if table.columns:
        assert table.rule >= sum(column.width for column in table.columns) - 3


@BY_NAME
def test_values_are_plain_numbers_at_full_precision(name):
    """What a file gets: each number in a rendered cell, before its rounding."""
    table = tables.get(name)
    found = layout.values(table)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["name"], found["section"], found["title"]) == (table.name, table.section, table.title)
    assert len(found["values"]) == len(table.lines)
    assert found["values"] or found["rows"]
    rendered = layout.render(table).splitlines()
    for row in found["rows"]:
        if table.columns:
            assert " | ".join(column.cell(row) for column in table.columns) in rendered
    for line in table.lines:
        assert line.text.format(found["values"][line.key]) in "\n".join(rendered)


@pytest.mark.usefixtures("only_x64")
def test_full_precision_shows_what_the_print_hides():
    """The first table of rewards prints zeros; its rates fall with the stake nonetheless."""
    rates = [row["apr"] for row in tables.get("base-reward").rows]
    assert all(isinstance(rate, float) and 0.0 < rate < 1e-7 for rate in rates)
    np.testing.assert_allclose(np.divide(rates[0], rates), [1.0, 1.5, 2.0, 2.5, 3.0], rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "near"), [("leek", "leak"), ("strategy", "strategies"), ("annual", "annual-mev"), ("exits", "exit")]
)
def test_an_unknown_table_lists_the_nearest(name, near):
    with pytest.raises(ValueError, match=rf"unknown table '{name}'; did you mean .*\b{near}\b"):
        tables.get(name)


def test_a_table_like_no_other_lists_what_there_is():
    with pytest.raises(ValueError, match="unknown table 'qqq'; known: consensus, randao"):
        tables.get("qqq")


# --- Layout ---------------------------------------------------------------------------------------------------------


def test_layout():
    table = Table(
        name="t",
        section="1",
        title="Title",
        double_rule=3,
        subtitle="1. Part",
        lines=[Line("a", "A: {:.1f}", 1.25)],
        columns=[Column("x", "X", 4), Column("y", "Y", 6, ">5.1f", "%"), Column("x", "Z", 3, ">3")],
        rule=5,
        rows=[{"x": 1, "y": 2.0, "unseen": 9.0}],
        notes=["", "end"],
    )
    assert layout.render(table).split("\n") == [
        "Title",
        "===",
        "",
        "1. Part",
        "A: 1.2",
        "   X |      Y |   Z",
        "-----",
        "   1 |   2.0% |   1",
        "",
        "end",
    ]
    assert layout.values(table)["rows"] == [{"x": 1, "y": 2.0, "unseen": 9.0}]
    assert layout.render(dataclasses.replace(table, double_rule=0, subtitle="", lines=[], columns=[], notes=[])) == (
        "Title"
    )


def test_rows_are_mapped_and_keep_their_inputs():
    rows = layout.over(lambda a, b: {"sum": a + b}, a=[1, 2], b=[0.5, 1.5])
    assert rows == [{"sum": 1.5, "a": 1, "b": 0.5}, {"sum": 3.5, "a": 2, "b": 1.5}]
    assert isinstance(rows[0]["a"], int)
    assert layout.over(lambda a: a * 2, a=[3.0]) == [{"value": 6.0, "a": 3.0}]
    assert layout.numbers({"x": jax.numpy.asarray(2.5)}) == {"x": 2.5}
