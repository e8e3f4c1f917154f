"""The exact engine against every golden vector of the executable specification: element by element, no tolerance.

All files of the folder JAXSTAKE_VECTORS (default: the reference data beside the checkout) are found by themselves and
run by the kind in their name; a new file needs no code. A file whose kind is unknown, that holds an output which is
not compared, or nothing to compare at all, fails. The summary counts the arrays compared by function and fork.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from tests.beacon import golden_state
from tests.beacon.conftest import COMPARED
from tests.beacon.golden_state import Golden
from tests.beacon.replay import KINDS

# By preset and fork, so that the states of few compilations are alive at a time.
FILES = sorted(golden_state.folder().glob("*.npz"), key=lambda path: (path.name.split("_")[1:3], path.name))


def run(path) -> Golden:
    """Compare all outputs of a file; raise where it is of no known kind, or anything in it goes unread."""
    golden = Golden(path)
    assert golden.kind in KINDS, f"{golden.name}: unknown kind {golden.kind!r}, known: {', '.join(KINDS)}"
    KINDS[golden.kind](golden)
    assert golden.compared, f"{golden.name} holds nothing to compare"
    assert not golden.unread, f"{golden.name}: not compared: {', '.join(sorted(golden.unread))}"
    return golden


def test_there_are_vectors(request):
    if not FILES:
        if "JAXSTAKE_VECTORS" not in os.environ:
            request.getfixturevalue("shared")  # skips, or fails where the reference data is required
        pytest.fail(f"no vectors in {golden_state.folder()}")


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_vector(path, record_property):
    golden = run(path)
    record_property(COMPARED, [(function, golden.fork, n) for function, n in golden.compared.items()])


# --- The runner itself ------------------------------------------------------------------------------------------------


@pytest.fixture
def some_file(shared, only_x64):
    return next((shared / "vectors").glob("epoch_altair_minimal_n300_s*.npz"))


def rewritten(path, target, changes):
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(target, **{name: array for name, array in (arrays | changes).items() if array is not None})
    return target


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("story_altair_minimal_s1.npz", "unknown kind 'story'"),
        ("epoch.npz", "is not named"),
        ("epoch_atlantis_minimal_s1.npz", "unknown fork 'atlantis'"),
    ],
)
def test_a_file_of_an_unknown_kind_fails(some_file, tmp_path, name, message):
    with pytest.raises((AssertionError, ValueError), match=message):
        run(rewritten(some_file, tmp_path / name, {}))


def test_a_file_without_outputs_fails(some_file, tmp_path):
    with np.load(some_file) as archive:
        outputs = {name: None for name in archive.files if not name.startswith("in.")}
    with pytest.raises(AssertionError, match="holds nothing to compare"):
        run(rewritten(some_file, tmp_path / "epoch_altair_minimal_s1.npz", outputs))


def test_an_output_that_is_not_compared_fails(some_file, tmp_path):
    extra = {"calc.colour": np.uint64(1)}
    with pytest.raises(AssertionError, match=r"not compared: calc\.colour"):
        run(rewritten(some_file, tmp_path / "epoch_altair_minimal_s1.npz", extra))


@pytest.mark.parametrize(
    "name", ["out.balances", "sep.inactivity.inactivity_scores", "delta.flag1_rewards", "calc.total_active_balance"]
)
def test_a_difference_of_one_gwei_fails(some_file, tmp_path, name):
    with np.load(some_file) as archive:
        wrong = archive[name].copy()
    wrong[(-1,) * wrong.ndim] += np.uint64(1)
    with pytest.raises(AssertionError, match=f"{name} .*: 1 of {wrong.size} differ"):
        run(rewritten(some_file, tmp_path / "epoch_altair_minimal_s1.npz", {name: wrong}))
