"""`jaxstake simulate`."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import filelock
import numpy as np
import pytest
import xarray

from jaxstake.cli import simulate
from jaxstake.cli.main import app
from jaxstake.data import simulation_checkpoint
from jaxstake.data.simulation_file import NAMES
from jaxstake.report.simulation_figures import NAMES as FIGURES

pytestmark = pytest.mark.usefixtures("only_x64")

MINE = """
title = "mine"
epochs = 8
record_every = 3
traced = [3, 250]
[registry]
validators = 300
compounding_share = 0.1
[chances]
head = 0.9
[block_value]
median_eth = 0.01
mean_eth = 0.02
[[offline]]
share = 0.2
from_epoch = 1
epochs = 3
[[slashings]]
first = 250
count = 5
from_epoch = 2
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    path = tmp_path_factory.mktemp("mine") / "mine.toml"
    path.write_text(MINE)
    return path


@pytest.fixture(scope="module")
def whole(x64, mine, tmp_path_factory):
    """The simulation in one go: its folder, and what it printed as JSON."""
    if not x64:
        pytest.skip("needs double precision")
    out, printed = tmp_path_factory.mktemp("whole") / "out", io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as end:
        app(["simulate", str(mine), "--out", str(out), "--json"])
    assert end.value.code == 0
    return out, json.loads(printed.getvalue())


def _rows(folder):
    with (folder / "records.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _bytes(folder):
    """All that is in a folder, but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder): path.read_bytes() for path in files}


def _checkpoint(folder):
    with np.load(folder / "checkpoint.npz") as file:
        return {name: file[name] for name in file.files}


def _same(folder, other):
    """The same result to the last bit: state, records and table."""
    one, two = _checkpoint(folder), _checkpoint(other)
    assert one.keys() == two.keys()
    for name, values in one.items():
        assert values.dtype == two[name].dtype
        np.testing.assert_array_equal(values, two[name], err_msg=name)
    assert (folder / "records.csv").read_bytes() == (other / "records.csv").read_bytes()


def test_table_dataset_figures_and_numbers(whole):
    out, found = whole
    assert {path.name for path in out.iterdir()} - {".lock"} == {
        "checkpoint.npz", "records.csv", "records.zarr", *(f"{name}.png" for name in FIGURES),
    }  # fmt: skip
    rows = _rows(out)
    assert [int(row["epochs"]) for row in rows] == [3, 3, 2]
    assert [float(row["day"]) * 225 for row in rows] == pytest.approx([3, 6, 8])
    assert int(rows[-1]["slashed_validators"]) == found["slashed_validators"] == 5
    assert (found["epochs"], found["validators_at_start"], found["overflowed"]) == (8, 300, False)
    assert sum(int(row["blocks"]) for row in rows) == round((1 - found["empty_slots_share"]) * 8 * 32)
    for name in FIGURES:
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_books_balance(whole):
    """To the Gwei, from the table alone."""
    rows, found = _rows(whole[0]), whole[1]
    gains = ("attestation_rewards", "inclusion_rewards", "sync_rewards", "sync_inclusion_rewards", "slashing_rewards")
    losses = ("attestation_penalties", "sync_penalties", "slashing_penalties", "correlation_penalties")
    change = 0
    for row in rows:
        change += sum(int(row[f"{name}_gwei"]) for name in (*gains, "deposited"))
        change -= sum(int(row[f"{name}_gwei"]) for name in (*losses, "withdrawn", "queued"))
    start = (270 * 32 + 30 * 2048) * 10**9
    assert int(rows[-1]["balance_gwei"]) == start + change
    assert found["balance_at_start_eth"] == start / 1e9


def test_dataset_is_labelled(whole):
    with xarray.open_zarr(whole[0] / "records.zarr", consolidated=False) as dataset:
        assert dict(dataset.sizes) == {"day": 3, "level": 7, "validator": 2}
        last = dataset.isel(day=-1)
        np.testing.assert_array_equal(
            last["traced_balance_gwei"], _checkpoint(whole[0])["simulation.state.balances"][[3, 250]]
        )
        assert last["traced_balance_gwei"].attrs == {"units": "Gwei", "long_name": "balance of one validator"}
        income = last["traced_consensus_income_eth"]
        assert income.sel(validator=250) < -0.007 < 0 < income.sel(validator=3)
        assert dataset["income_eth"].attrs["units"] == "ETH"
        assert dataset["active_stake_gwei"].attrs["units"] == "Gwei"
        assert dataset["active_stake_gwei"].dtype == np.uint64
        assert dataset.attrs["title"] == "mine"
        rows = _rows(whole[0])
        assert dataset["income_eth"].sel(level=0.5).values.tolist() == [float(row["income_eth_p50"]) for row in rows]


def test_complete_folder_says_so_and_stays(whole, cli, mine):
    out = whole[0]
    before = _bytes(out)
    result = cli("simulate", mine, "--out", out)
    assert result.code == 0
    assert "complete; nothing was computed" in result.out
    assert "mine: 8 epochs" in result.out
    assert str(out / "records.csv") in result.out
    assert _bytes(out) == before
    (out / "queues.png").unlink()
    assert cli("simulate", mine, "--out", out, "--json").json["complete_before"] is True
    assert _bytes(out).keys() == before.keys()


@pytest.mark.parametrize("name", NAMES)
def test_what_ships_runs(cli, tmp_path, name):
    result = cli("simulate", name, "--out", tmp_path, "--validators", 600, "--epochs", 8, "--json")
    assert result.code == 0, result.err
    assert ("note: the merges do nothing" in result.err) == (name == "consolidation")
    found = result.json
    assert (found["epochs"], found["validators_at_start"], found["overflowed"]) == (8, 600, False)
    assert found["longest_since_finality_epochs"] == 2
    assert found["target_share_mean"] > 0.98


# --- Going on ---------------------------------------------------------------------------------------------------------


def test_interrupted_goes_on_to_the_same_result(whole, cli, mine, tmp_path, monkeypatch):
    write, done = simulation_checkpoint.write, []

    def write_twice(*args, **named):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(args)
        write(*args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(simulate, "SHARE_OF_TIME", 1.0)  # a checkpoint after every window
        patch.setattr(simulation_checkpoint, "write", write_twice)
        stopped = cli("simulate", mine, "--out", tmp_path)
    assert stopped.code == 130
    assert f"goes on from {tmp_path / 'checkpoint.npz'}" in stopped.err
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"checkpoint.npz"}
    (tmp_path / "checkpoint.npz.part").write_bytes(b"half of one")  # as a kill in the middle of a write leaves it
    found = cli("simulate", mine, "--out", tmp_path, "--json").json
    assert (found["resumed_from_epoch"], found["complete_before"]) == (6, False)
    _same(tmp_path, whole[0])
    assert not (tmp_path / "checkpoint.npz.part").exists()


def test_killed_goes_on_to_the_same_result(cli, mine, tmp_path):
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    options = [str(mine), "--epochs", "1500", "--record-every", "2"]
    command = [sys.executable, "-m", "jaxstake", "simulate", *options, "--out", str(killed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 240
        while not (killed / "checkpoint.npz").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "records.csv").exists()
    first = cli("simulate", *options, "--out", killed, "--json")
    assert 0 < first.json["resumed_from_epoch"] < 1500
    second = cli("simulate", *options, "--out", straight, "--json")
    assert (first.code, second.code, second.json["resumed_from_epoch"]) == (0, 0, 0)
    _same(killed, straight)


# --- Refused, and nothing overwritten ---------------------------------------------------------------------------------


def _damaged(folder, change):
    """The folder with another checkpoint."""
    arrays = _checkpoint(folder)
    identity = json.loads(arrays["identity"].tobytes())
    change(arrays, identity)
    arrays["identity"] = np.frombuffer(json.dumps(identity).encode(), np.uint8)
    np.savez(folder / "checkpoint.npz", **arrays)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--seed", 7), "seed is 1 there and 7 here"),
        (("--epochs", 9), "epochs is 8 there and 9 here"),
        (("--record-every", 4), "record_every is 3 there and 4 here"),
        (
            ("--validators", 400),
            "registry.compounding is 30 there and 40 here, registry.validators is 300 there and 400",
        ),
    ],
)
def test_checkpoint_of_other_options(whole, refused, mine, options, words):
    before = _bytes(whole[0])
    message = refused("simulate", mine, "--out", whole[0], *options)
    assert "checkpoint.npz holds another simulation" in message
    assert words in message
    assert "choose another folder or remove it" in message
    assert _bytes(whole[0]) == before


def test_checkpoint_of_another_scenario(whole, refused):
    before = _bytes(whole[0])
    message = refused("simulate", "client-bug", "--out", whole[0], "--validators", 300)
    assert "holds another simulation" in message
    assert " more; choose another folder" in message
    assert _bytes(whole[0]) == before


def _of_old_format(arrays, identity):
    identity["format"] = 0


def _of_other_release(arrays, identity):
    identity["version.jaxstake"] = "0.0.1"


def _without_balances(arrays, identity):
    del arrays["simulation.state.balances"]


def _of_other_length(arrays, identity):
    arrays["simulation.state.balances"] = arrays["simulation.state.balances"][:5]


def _without_records(arrays, identity):
    del arrays["records.tally.blocks"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_of_old_format, "is of another version (format is 0 there and 1 here)"),
        (_of_other_release, 'is of another version (version.jaxstake is "0.0.1" there'),
        (_without_balances, "is damaged: state.balances is missing or of another shape or type"),
        (_of_other_length, "is damaged: state.balances is missing or of another shape or type"),
        (_without_records, "is damaged: the records have no 'tally.blocks'"),
    ],
)
def test_checkpoint_of_another_version_or_damaged(whole, refused, mine, tmp_path, change, words):
    (tmp_path / "checkpoint.npz").write_bytes((whole[0] / "checkpoint.npz").read_bytes())
    _damaged(tmp_path, change)
    before = _bytes(tmp_path)
    assert words in refused("simulate", mine, "--out", tmp_path)
    assert _bytes(tmp_path) == before


@pytest.mark.parametrize("kept", [0, 100, 5000])
def test_checkpoint_cut_short(whole, refused, mine, tmp_path, kept):
    (tmp_path / "checkpoint.npz").write_bytes((whole[0] / "checkpoint.npz").read_bytes()[:kept])
    before = _bytes(tmp_path)
    assert "is damaged or no checkpoint" in refused("simulate", mine, "--out", tmp_path)
    assert _bytes(tmp_path) == before


def test_results_of_something_else_are_not_overwritten(refused, mine, tmp_path):
    (tmp_path / "records.csv").write_text("mine\n")
    assert "records.csv is there without a checkpoint.npz" in refused("simulate", mine, "--out", tmp_path)
    assert _bytes(tmp_path) == {(tmp_path / "records.csv").relative_to(tmp_path): b"mine\n"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            "[[exits]]\nfirst = 290\ncount = 11",
            "exits[0] must be within the registry of 300 validators, got validators up",
        ),
        ("[[offline]]\nshare = 0.1\nepochs = 2", "offline must not overlap, got offline[0] and offline[1]"),
        ("[outages]\nshares = [0.5]\noutage_chance = [0.1, 0.2]\nrecovery_chance = [0.1]", "as long as shares (1)"),
        ("[[exits]]\nshare = 2", "exits[0].share must be in [0, 1], got 2"),
    ],
)
def test_bad_file_is_one_line_and_makes_no_folder(refused, tmp_path, more, words):
    path = tmp_path / "bad.toml"
    path.write_text(MINE + more)
    message = refused("simulate", path, "--out", tmp_path / "out")
    assert words in message
    assert str(path) in message
    assert not (tmp_path / "out").exists()


def test_bad_options_are_one_line(refused, mine, tmp_path):
    out = ("--out", tmp_path / "out")
    assert "validators must be at least 1, got 0" in refused("simulate", mine, *out, "--validators", 0)
    assert "epochs must be at least 1, got -1" in refused("simulate", mine, *out, "--epochs", -1)
    assert "record_every must be at least 1, got 0" in refused("simulate", mine, *out, "--record-every", 0)
    assert "seed must be at least 0, got -1" in refused("simulate", mine, *out, "--seed", -1)
    assert "did you mean client-bug" in refused("simulate", "client-bgu", *out)
    assert f"cannot write to {mine}" in refused("simulate", mine, "--out", mine)
    assert "--out" in refused("simulate", mine)


def test_a_folder_in_use_is_refused(whole, refused, mine):
    with filelock.FileLock(whole[0] / ".lock"):
        assert "another process is working in" in refused("simulate", mine, "--out", whole[0])
