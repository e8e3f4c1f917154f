"""`jaxstake simulate`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray

from jaxstake.cli import simulate
from jaxstake.data import simulation_checkpoint
from jaxstake.data.simulation_file import NAMES
from jaxstake.report.simulation_figures import NAMES as FIGURES
from tests.cli.simulations import bytes_of, checkpoint_of, require_same, rows_of

pytestmark = pytest.mark.usefixtures("only_x64")
ISSUED = ("attestation_rewards", "inclusion_rewards", "sync_rewards", "sync_inclusion_rewards", "slashing_rewards")
BURNT = ("attestation_penalties", "sync_penalties", "slashing_penalties", "correlation_penalties")


def test_table_dataset_figures_and_numbers(whole):
    out, found = whole
    assert {path.name for path in out.iterdir()} - {".lock"} == {
        "checkpoint.npz", "records.csv", "records.zarr", *(f"{name}.png" for name in FIGURES),
    }  # fmt: skip
    rows = rows_of(out)
    assert [int(row["epochs"]) for row in rows] == [3, 3, 2]
    assert [float(row["day"]) * 225 for row in rows] == pytest.approx([3, 6, 8])
    assert int(rows[-1]["slashed_validators"]) == found["slashed_validators"] == 5
    assert (found["epochs"], found["validators_at_start"], found["overflowed"]) == (8, 300, False)
    change = sum(int(row[f"{name}_gwei"]) for row in rows for name in ISSUED)
    change -= sum(int(row[f"{name}_gwei"]) for row in rows for name in BURNT)
    assert found["consensus_return"] == pytest.approx(change / 1e9 / found["balance_at_start_eth"])
    assert found["consensus_rate_per_year"] == pytest.approx(found["consensus_return"] * 365.25 * 225 / 8)
    assert found["execution_return"] == pytest.approx(found["block_value_eth"] / found["balance_at_start_eth"])
    assert sum(int(row["blocks"]) for row in rows) == round((1 - found["empty_slots_share"]) * 8 * 32)
    for name in FIGURES:
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_books_balance(whole):
    """To the Gwei, from the table alone."""
    rows, found = rows_of(whole[0]), whole[1]
    change = 0
    for row in rows:
        change += sum(int(row[f"{name}_gwei"]) for name in (*ISSUED, "deposited"))
        change -= sum(int(row[f"{name}_gwei"]) for name in (*BURNT, "withdrawn", "queued"))
    start = (270 * 32 + 30 * 2048) * 10**9
    assert int(rows[-1]["balance_gwei"]) == start + change
    assert found["balance_at_start_eth"] == start / 1e9


def test_dataset_is_labelled(whole):
    with xarray.open_zarr(whole[0] / "records.zarr", consolidated=False) as dataset:
        assert dict(dataset.sizes) == {"day": 3, "level": 7, "validator": 2, "row": 300}
        assert all(variable.attrs["long_name"] for variable in dataset.variables.values())
        own = dataset["consensus_income_by_row_eth"] + dataset["execution_income_by_row_eth"]
        np.testing.assert_allclose(np.quantile(own, 0.5), dataset["income_eth"].sel(level=0.5)[-1])
        last = dataset.isel(day=-1)
        np.testing.assert_array_equal(
            last["traced_balance_gwei"], checkpoint_of(whole[0])["simulation.state.balances"][[3, 250]]
        )
        assert last["traced_balance_gwei"].attrs == {"units": "Gwei", "long_name": "balance of one validator"}
        income = last["traced_consensus_income_eth"]
        assert income.sel(validator=250) < -0.007 < 0 < income.sel(validator=3)
        assert dataset["income_eth"].attrs["units"] == "ETH"
        assert dataset["active_stake_gwei"].attrs["units"] == "Gwei"
        assert dataset["active_stake_gwei"].dtype == np.uint64
        assert dataset.attrs["title"] == "mine"
        rows = rows_of(whole[0])
        assert dataset["income_eth"].sel(level=0.5).values.tolist() == [float(row["income_eth_p50"]) for row in rows]


def test_complete_folder_says_so_and_stays(whole, cli, mine):
    out = whole[0]
    before = bytes_of(out)
    result = cli("simulate", mine, "--out", out)
    assert result.code == 0
    assert "complete; nothing was computed" in result.out
    assert "mine: 8 epochs" in result.out
    assert str(out / "records.csv") in result.out
    assert bytes_of(out) == before
    (out / "queues.png").unlink()
    assert cli("simulate", mine, "--out", out, "--json").json["complete_before"] is True
    assert bytes_of(out).keys() == before.keys()


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
    require_same(tmp_path, whole[0])
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
    require_same(killed, straight)
