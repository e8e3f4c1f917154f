"""`jaxstake sweep`."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray

GRID = """
outputs = ["net", "consensus"]
dtype = "float32"
[axes]
"validator.uptime" = [0.9, 0.95, 1.0]
"network.total_stake_eth" = { start = 20e6, stop = 80e6, num = 5, scale = "log" }
"""


@pytest.fixture
def config(tmp_path):
    def write(text: str):
        path = tmp_path / "sweep.toml"
        path.write_text(text)
        return path

    return write


def _stored(folder):
    return xarray.open_zarr(folder / "sweep.zarr", chunks=None, consolidated=False).drop_vars("chunk_invalid")


def _rows(folder):
    with (folder / "summary.csv").open(newline="") as file:
        return {row["output"]: row for row in csv.DictReader(file)}


def test_grid_is_stored_labelled_and_summarised(cli, config, tmp_path):
    out = tmp_path / "out"
    result = cli("sweep", config(GRID), "--out", out, "--json")
    assert result.code == 0
    assert result.err == ""
    found = result.json
    assert found["lanes"] == 15
    assert found["invalid_lanes"] == 0
    assert found["paths"] == {"store": str(out / "sweep.zarr"), "summary": str(out / "summary.csv")}
    dataset = _stored(out)
    assert set(dataset.data_vars) == {"net", "consensus"}
    assert dict(dataset.sizes) == {"validator.uptime": 3, "network.total_stake_eth": 5}
    assert dataset["net"].dtype == np.float32
    assert dataset["network.total_stake_eth"].values == pytest.approx(np.geomspace(20e6, 80e6, 5))
    row = _rows(out)["net"]
    assert float(row["mean"]) == pytest.approx(float(dataset["net"].astype(float).mean()))
    assert float(row["max"]) == found["reductions"]["net"]["max"]
    assert int(row["count"]) == 15


def test_each_lane_is_the_command_apr(cli, config, tmp_path):
    cli("sweep", config(GRID.replace("float32", "float64")), "--out", tmp_path)
    settings = ("--set", "validator.uptime=0.95", "--set", "network.total_stake_eth=20e6")
    lane = _stored(tmp_path)["net"].sel({"validator.uptime": 0.95}).values[0]
    assert lane == pytest.approx(cli("apr", "--json", *settings).json["net"], rel=1e-12)


def test_base_of_the_lanes(cli, config, tmp_path):
    """Tables in the file, options over them."""
    text = GRID.replace("float32", "float64") + "[scenario]\nfork = 'bellatrix'\n[scenario.costs]\ncommission = 0.2\n"
    cli("sweep", config(text), "--out", tmp_path, "--set", "costs.commission=0.1")
    lane = _stored(tmp_path)["net"].sel({"validator.uptime": 1.0}).values[-1]
    settings = ("--set", "validator.uptime=1", "--set", "network.total_stake_eth=80e6", "--set", "costs.commission=0.1")
    expected = cli("apr", "--json", "--fork", "bellatrix", *settings).json["net"]
    assert lane == pytest.approx(expected, rel=1e-12)


def test_zip_walks_the_axes_side_by_side(cli, config, tmp_path):
    axes = "[axes.validator]\nuptime = [0.9, 1.0]\n[axes.network]\nparticipation = [1, 0.9]\n"
    text = 'mode = "zip"\noutputs = "net"\n' + axes
    assert cli("sweep", config(text), "--out", tmp_path, "--json").json["lanes"] == 2
    dataset = _stored(tmp_path)
    assert dataset["net"].dims == ("lane",)
    assert dataset["network.participation"].values.tolist() == [1.0, 0.9]


def test_invalid_lanes_are_counted_and_empty(cli, config, tmp_path):
    text = 'outputs = ["net"]\n[axes]\n"validator.uptime" = [0.5, 1.5]\n"network.participation" = [0.9, 1.0, 1.1]\n'
    found = cli("sweep", config(text), "--out", tmp_path, "--json").json
    assert (found["lanes"], found["invalid_lanes"]) == (6, 4)
    assert np.isnan(_stored(tmp_path)["net"].values).sum() == 4
    assert _rows(tmp_path)["net"]["count"] == "2"


def test_reduced_keeps_statistics_only(cli, config, tmp_path):
    reduce = 'reduce = ["mean", "std", "min", "max", "argmax", "quantiles", "histogram"]\n'
    path = config(reduce + GRID)
    found = cli("sweep", path, "--out", tmp_path, "--json").json["reductions"]["net"]
    with xarray.open_zarr(tmp_path / "sweep.zarr", consolidated=False) as dataset:
        assert float(dataset["net_mean"]) == pytest.approx(found["mean"])
        assert dataset["net_histogram"].values.sum() == 15
    assert found["argmax.validator.uptime"] == 1.0
    assert found["argmax.network.total_stake_eth"] == pytest.approx(20e6)
    assert found["min"] <= found["p50"] <= found["max"]
    assert float(_rows(tmp_path)["net"]["mean"]) == pytest.approx(found["mean"])
    assert cli("sweep", path, "--out", tmp_path).code == 0  # the same again replaces it


def test_table_and_paths(cli, config, tmp_path):
    out = cli("sweep", config(GRID), "--out", tmp_path).out
    assert "15 scenarios, 0 invalid" in out
    assert str(tmp_path / "sweep.zarr") in out
    assert str(tmp_path / "summary.csv") in out


@pytest.mark.parametrize("reduce", ["", 'reduce = ["mean"]\n'])
def test_store_of_another_sweep_is_refused(cli, refused, config, tmp_path, reduce):
    cli("sweep", config(reduce + GRID), "--out", tmp_path)
    message = refused("sweep", config(reduce + GRID.replace("0.95", "0.96")), "--out", tmp_path)
    assert "sweep.zarr" in message
    assert "another sweep" in message
    assert "another folder" in message


def test_reduced_and_stored_do_not_replace_each_other(cli, refused, config, tmp_path):
    cli("sweep", config(GRID), "--out", tmp_path)
    assert "another sweep" in refused("sweep", config('reduce = ["mean"]\n' + GRID), "--out", tmp_path)


AXIS = '[axes]\n"validator.uptime" = '


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mode = = 1", ["not valid TOML", "line 1"]),
        ("", ["axes", "at least one leaf"]),
        (AXIS + "[]", ["validator.uptime", "empty"]),
        (AXIS + "['a']", ["validator.uptime", "number", "'a'"]),
        (AXIS + "3", ["validator.uptime", "list or a table"]),
        (AXIS + "{ start = 0.9, stop = 1.0 }", ["validator.uptime", "num"]),
        (AXIS + "{ start = 0.9, stop = 1.0, num = 0 }", ["num", "at least 1", "0"]),
        (AXIS + "{ start = 0, stop = 1.0, num = 2, scale = 'log' }", ["log", "greater than 0"]),
        (AXIS + "{ start = 0, stop = 1.0, num = 2, scale = 'lag' }", ["'lag'", "log"]),
        (AXIS + "{ start = 0, stop = 1.0, count = 2 }", ["'count'"]),
        ('[axes]\n"validator.uptme" = [1.0]', ["unknown leaf 'validator.uptme'", "validator.uptime"]),
        ('mode = "zip"\n' + AXIS + '[0.9, 1.0]\n"network.participation" = [1.0]', ["one length", "2", "1"]),
        ('mode = "gird"\n' + AXIS + "[1.0]", ["unknown mode 'gird'", "grid"]),
        ('model = "apy"\n' + AXIS + "[1.0]", ["unknown model 'apy'", "apr"]),
        ('outputs = ["nett"]\n' + AXIS + "[1.0]", ["unknown output 'nett'", "net"]),
        ('reduce = ["maen"]\n' + AXIS + "[1.0]", ["unknown statistic 'maen'", "mean"]),
        ('dtype = "float31"\n' + AXIS + "[1.0]", ["unknown dtype 'float31'", "float32"]),
        ("chunk = 0\n" + AXIS + "[1.0]", ["chunk", "at least 1"]),
        ("outputs = 3\n" + AXIS + "[1.0]", ["outputs must be a list of names"]),
        ("chunks = 1\n" + AXIS + "[1.0]", ["unknown key 'chunks'", "chunk"]),
        (AXIS + "[1.0]\n[scenario.costs]\ncommission = 2", ["costs.commission must be in [0, 1]", "2"]),
    ],
)
def test_bad_config_is_one_line(refused, config, tmp_path, text, words):
    message = refused("sweep", config(text), "--out", tmp_path / "out")
    for word in words:
        assert word in message


def test_unreadable_config_and_folder_are_one_line(refused, config, tmp_path):
    assert "cannot read" in refused("sweep", tmp_path / "absent.toml", "--out", tmp_path)
    assert "cannot read" in refused("sweep", tmp_path, "--out", tmp_path)
    path = config(GRID)
    assert f"cannot write to {path / 'out'}" in refused("sweep", path, "--out", path / "out")
    assert "--out" in refused("sweep", path)


def test_killed_sweep_resumes_to_the_same_result(cli, config, tmp_path):
    text = (
        'outputs = ["net"]\nchunk = 64\n[axes]\n"validator.uptime" = { start = 0.9, stop = 1.0, num = 300 }\n'
        '"network.participation" = { start = 0.9, stop = 1.0, num = 64 }\n'
    )
    path, killed, whole = config(text), tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "jaxstake", "sweep", str(path), "--out", str(killed)]
    done = killed / "sweep.zarr" / "chunk_invalid" / "c"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 120
        while not done.is_dir() or len(list(done.iterdir())) < 5:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    with _stored(killed) as partial:
        before = int(np.isfinite(partial["net"].values).sum())
    assert 0 < before < 300 * 64
    first = cli("sweep", path, "--out", killed, "--json")
    second = cli("sweep", path, "--out", whole, "--json")
    assert (first.code, first.err) == (second.code, second.err) == (0, "")
    np.testing.assert_array_equal(_stored(killed)["net"].values, _stored(whole)["net"].values)
    assert (killed / "summary.csv").read_bytes() == (whole / "summary.csv").read_bytes()
    assert json.loads(first.out)["reductions"] == json.loads(second.out)["reductions"]
