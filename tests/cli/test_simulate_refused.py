"""What `jaxstake simulate` refuses, without touching what is there."""

from __future__ import annotations

import json
import subprocess
import sys

import filelock
import numpy as np
import pytest

from tests.cli.simulations import MINE, bytes_of, checkpoint_of

pytestmark = pytest.mark.usefixtures("only_x64")
HOLD = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print('held', flush=True); input()"


def _damaged(folder, change):
    """The folder with another checkpoint."""
    arrays = checkpoint_of(folder)
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
    before = bytes_of(whole[0])
    message = refused("simulate", mine, "--out", whole[0], *options)
    assert "checkpoint.npz holds another simulation" in message
    assert words in message
    assert "choose another folder or remove it" in message
    assert bytes_of(whole[0]) == before


def test_checkpoint_of_another_scenario(whole, refused):
    before = bytes_of(whole[0])
    message = refused("simulate", "client-bug", "--out", whole[0], "--validators", 300)
    assert "holds another simulation" in message
    assert " more; choose another folder" in message
    assert bytes_of(whole[0]) == before


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
        (_of_old_format, "is of another version (format is 0 there and 2 here)"),
        (_of_other_release, 'is of another version (version.jaxstake is "0.0.1" there'),
        (_without_balances, "is damaged: state.balances is missing or of another shape or type"),
        (_of_other_length, "is damaged: state.balances is missing or of another shape or type"),
        (_without_records, "is damaged: the records have no 'tally.blocks'"),
    ],
)
def test_checkpoint_of_another_version_or_damaged(whole, refused, mine, tmp_path, change, words):
    (tmp_path / "checkpoint.npz").write_bytes((whole[0] / "checkpoint.npz").read_bytes())
    _damaged(tmp_path, change)
    before = bytes_of(tmp_path)
    assert words in refused("simulate", mine, "--out", tmp_path)
    assert bytes_of(tmp_path) == before


@pytest.mark.parametrize("kept", [0, 100, 5000])
def test_checkpoint_cut_short(whole, refused, mine, tmp_path, kept):
    (tmp_path / "checkpoint.npz").write_bytes((whole[0] / "checkpoint.npz").read_bytes()[:kept])
    before = bytes_of(tmp_path)
    assert "is damaged or no checkpoint" in refused("simulate", mine, "--out", tmp_path)
    assert bytes_of(tmp_path) == before


def test_results_of_something_else_are_not_overwritten(refused, mine, tmp_path):
    (tmp_path / "records.csv").write_text("mine\n")
    assert "records.csv is there without a checkpoint.npz" in refused("simulate", mine, "--out", tmp_path)
    assert bytes_of(tmp_path) == {(tmp_path / "records.csv").relative_to(tmp_path): b"mine\n"}


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


def test_a_folder_in_use_is_refused_until_its_process_is_gone(whole, cli, refused, mine):
    before = bytes_of(whole[0])
    command = [sys.executable, "-c", HOLD, str(whole[0] / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert "another process is working in" in refused("simulate", mine, "--out", whole[0])
        process.kill()
    assert bytes_of(whole[0]) == before
    assert cli("simulate", mine, "--out", whole[0]).code == 0


def test_a_file_system_without_locks_is_refused(refused, mine, tmp_path, monkeypatch):
    def acquire(*_, **__):
        raise NotImplementedError("no flock here")

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    assert "is on a file system without locks" in refused("simulate", mine, "--out", tmp_path)


def test_rows_to_trace_must_be_there(refused, mine, tmp_path):
    message = refused("simulate", mine, "--out", tmp_path / "out", "--trace", 3, "--trace", 300)
    assert "traced[1] must be at most 299, got 300" in message
