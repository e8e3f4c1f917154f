"""Statistics of sweeps, and their CSV file."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from jaxstake.analysis.sweep import sweep
from jaxstake.report import summary


def line(at):
    return {"up": at["x"], "down": -at["x"]}


AXES = {"x": np.linspace(0.0, 1.0, 101)}


def test_describe_is_numpy():
    found = summary.describe(sweep(line, {"x": 0.0}, AXES))["up"]
    values = AXES["x"]
    expected = {
        "count": 101,
        "mean": values.mean(),
        "std": values.std(),
        "min": 0.0,
        "p5": 0.05,
        "p50": 0.5,
        "max": 1.0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_nothing_valid_is_nan():
    found = summary.statistics(np.array([np.nan]))
    assert found["count"] == 0
    assert np.isnan(found["mean"])


def test_reductions_by_output():
    wanted = ("mean", "quantiles", "argmax", "histogram")
    found = summary.reductions(sweep(line, {"x": 0.0}, AXES, reduce=wanted))
    assert set(found) == {"up", "down"}
    assert found["up"]["mean"] == pytest.approx(0.5, rel=1e-6)
    assert found["up"]["argmax.x"] == 1.0
    assert found["down"]["argmax.x"] == 0.0
    assert found["up"]["p50"] == pytest.approx(0.5, abs=0.02)


def test_csv_leaves_out_what_does_not_exist(tmp_path):
    path = tmp_path / "summary.csv"
    summary.write_csv(path, {"a": {"mean": 0.5, "max": float("nan")}, "b": {"std": -0.0}})
    with path.open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"output": "a", "mean": "0.5", "max": "", "std": ""},
            {"output": "b", "mean": "", "max": "", "std": "0"},
        ]
