"""Panels: the layouts of three real files and of users, and errors that name file, line, column and value."""

from __future__ import annotations

import numpy as np
import pytest

from jaxstake.data import panels


@pytest.fixture
def write(tmp_path):
    def make(text: str):
        path = tmp_path / "panel.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return make


@pytest.mark.parametrize(
    ("name", "layout", "rows", "intervals", "validators", "operators"),
    [
        ("csm_validator_attestations", "cross-section", 968, 1, 968, 146),
        ("testnet_validator_panel", "panel", 78_642, 98, 1484, 0),
        ("rp_node_intervals", "presence", 91_516, 44, 3806, 0),
    ],
)
def test_real_files(shared, name, layout, rows, intervals, validators, operators):
    panel = panels.read(shared / "data" / f"{name}.csv")
    found = (panel.layout, panel.rows, panel.intervals.size, panel.validators, panel.operators)
    assert found == (layout, rows, intervals, validators, operators)
    assert panels.present(panel).sum() == rows
    if layout != "presence":
        done, duties = panels.matrices(panel)
        assert done.sum() == panel.attested.sum()
        assert np.all(done <= duties)


@pytest.mark.parametrize(
    "text",
    [
        "interval,validator,assigned,attested\n3,a,10,9\n3,b,10,10\n8,a,5,0\n",
        "attested,missed,validator,interval,note\n9,1,a,3,x\n10,0,b,3,\n0,5,a,8,\n",
        "interval,validator,assigned,attested,missed\n3,a,10,9,1\n\n3,b,10,10,0\n8,a,5,0,5\n",
        "\ufeffinterval,validator,assigned,included\n3,a,10,9\n3,b,10,10.0\n8,a,5,0\n",
    ],
)
def test_a_users_panel(write, text):
    panel = panels.read(write(text))
    assert panel.layout == "panel"
    assert panel.operator is None
    assert panel.intervals.tolist() == [3, 8]
    done, duties = panels.matrices(panel)
    np.testing.assert_array_equal(done, [[9, 0], [10, 0]])
    np.testing.assert_array_equal(duties, [[10, 5], [10, 0]])


def test_operators_are_numbered(write):
    panel = panels.read(write("interval,validator,operator,assigned,attested\n0,a,x,0,0\n0,b,y,1,1\n1,a,x,1,0\n"))
    assert panel.operator.tolist() == [0, 1, 0]
    assert panel.operators == 2
    assert panel.idle == 1


PANEL = "interval,validator,assigned,attested\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "panel.csv is empty; expected interval, validator"),
        ("a,b\n1,2\n", "panel.csv is no panel: expected .*; found: a, b"),
        ("interval,validator,attested\n1,2,3\n", "is no panel"),
        ("validator_index,assigned,included\n1,2,3\n", "is no panel"),
        ("interval,validator,node\n1,2,3\n", "more than one column validator or node"),
        (PANEL, "has a header but no rows"),
        (PANEL + "1,a,10,11\n", "line 2: attested 11 exceeds assigned 10"),
        ("operator_id,validator_index,assigned,included\n1,5,10,12\n", "line 2: included 12 exceeds assigned 10"),
        (PANEL + "1,a,10,9\n1,b,x,9\n", "line 3: assigned 'x' is not a number"),
        (PANEL + "1,a,10,\n", "line 2: attested '' is not a number"),
        (PANEL + "1,a,10,-1\n", "line 2: attested must be a whole number of at least 0, got -1"),
        (PANEL + "1.5,a,10,1\n", "line 2: interval must be a whole number of at least 0, got 1.5"),
        (PANEL + "1,a,nan,1\n", "line 2: assigned must be a whole number of at least 0, got nan"),
        (PANEL + "1,,10,1\n", "line 2: validator is empty"),
        (PANEL + "1,a,10\n", "line 2: 3 fields under 4 columns"),
        (PANEL + "1,a,10,1\n1,a,10,2\n", "line 3: 'a' is on line 2 already in interval 1"),
        ("interval,validator,assigned,attested,missed\n1,a,10,9,2\n", "assigned 10 is not attested 9 plus missed 2"),
    ],
)
def test_errors_name_the_place(write, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        panels.read(write(text))
    assert "panel.csv" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path, write):
    with pytest.raises(ValueError, match=r"cannot read .*none\.csv"):
        panels.read(tmp_path / "none.csv")
    path = tmp_path / "latin.csv"
    path.write_bytes(b"interval,validator\n1,\xff\n")
    with pytest.raises(ValueError, match="not UTF-8") as caught:
        panels.read(path)
    assert "latin.csv" in str(caught.value)


def test_presence_has_no_duties(write):
    panel = panels.read(write("node,interval\n0,1\n1,1\n0,2\n"))
    assert panel.layout == "presence"
    with pytest.raises(ValueError, match="no duties"):
        panels.matrices(panel)
