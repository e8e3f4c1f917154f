"""The benchmarks of the exact engine: NumPy and the plain step do the work they claim to do. No timings here."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import epoch, plain_epoch, simulated
from benchmarks.setting import Setting
from jaxstake.beacon import rules
from jaxstake.beacon.arrays import arrays_from_state, state_from_arrays

SMALL = Setting(lanes=1 << 10, repeat=1)


@pytest.mark.usefixtures("only_x64")
def test_numpy_gives_the_same_integers():
    r, arrays = rules.get(epoch.FORK), epoch.network(3000)
    found = arrays_from_state(epoch.run(r, state_from_arrays(r, arrays)))
    for _ in range(epoch.EPOCHS):
        arrays = epoch.numpy_epoch(r, arrays)
    for name, expected in arrays.items():
        assert np.array_equal(found[name], expected), name
    assert not np.array_equal(found["balances"], epoch.network(3000)["balances"])


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize("offline", [0.01, 0.5])
def test_the_plain_step_is_the_transition_of_a_plain_network(offline):
    """One epoch of a network without slashed or leaving validators gives the integers of the rules, leak or not."""
    r, arrays = rules.get(epoch.FORK), epoch.network(3000)
    votes = np.where(np.random.default_rng(1).random(3000) < 1 - offline, 7, 0).astype(np.uint8)
    arrays |= {
        "slashed": np.zeros(3000, bool),
        "exit_epoch": np.full(3000, epoch.NEVER),
        "withdrawable_epoch": np.full(3000, epoch.NEVER),
        "slashings": np.zeros_like(arrays["slashings"]),
        "previous_epoch_participation": votes,
        "current_epoch_participation": votes,
    }
    if offline > 1 / 3:  # finality stopped long ago
        late = arrays["finalized_epoch"] - 10
        arrays |= dict.fromkeys(("finalized_epoch", "previous_justified_epoch", "current_justified_epoch"), late)
        arrays["justification_bits"] = np.zeros(4, bool)
    expected = epoch.numpy_epoch(r, arrays)
    numbers = [jnp.asarray(arrays[name].astype(np.int64)) for name in plain_epoch.COLUMNS]
    start = (*numbers, jnp.asarray(votes))
    end = plain_epoch.run(r, start, simulated.BEHAVIOUR, jnp.asarray(1), jax.random.key(0))
    balances, effective, scores, drawn = map(np.asarray, end)
    np.testing.assert_array_equal(balances, expected["balances"].astype(np.int64))
    np.testing.assert_array_equal(effective, expected["effective_balance"].astype(np.int64))
    np.testing.assert_array_equal(scores, expected["inactivity_scores"].astype(np.int64))
    chances = [getattr(simulated.BEHAVIOUR, name) for name in ("source", "target", "head")]
    for flag, chance in enumerate(chances):
        assert abs(np.mean(drawn >> flag & 1) - chance) < 5 * np.sqrt(chance * (1 - chance) / 3000)


def test_every_row_runs():
    for task in epoch.tasks(SMALL) + simulated.tasks(SMALL):
        assert task.lanes == 10_000 * epoch.EPOCHS
        task.run(0)
        task.run(1)


@pytest.mark.usefixtures("only_x64")
def test_a_year_reports_time_and_memory():
    (row,) = simulated.years((200_000,), 2, device="cpu")
    assert row.lanes == 400_000
    assert row.run_s > 0
    assert 95 * 200_000 < row.peak_mib * 2**20 < 200 * 200_000
    assert dataclasses.asdict(row)["by"].startswith("jaxstake")
