"""The rewards step on random states: never an overflow, never below zero, and every Gwei accounted for."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxstake.beacon import rewards, rules
from jaxstake.beacon.arrays import arrays_from_state, state_from_arrays
from tests.beacon.random_states import ROWS, as_lists, constants, random_arrays
from tests.oracles import spec_loops

FORKS = ("altair", "bellatrix", "deneb", "electra", "gloas")
step = jax.jit(rewards.process_rewards_and_penalties, static_argnums=0)


def deltas(r, state):
    pairs = [rewards.get_flag_index_deltas(r, state, flag) for flag in range(3)]
    return [*pairs, rewards.get_inactivity_penalty_deltas(r, state)]


deltas = jax.jit(deltas, static_argnums=0)


def total(array) -> int:
    return sum(int(x) for x in np.asarray(array))


@pytest.mark.usefixtures("only_x64")
@settings(max_examples=150, deadline=None)
@given(fork=st.sampled_from(FORKS), seed=st.integers(0, 2**32 - 1), score=st.integers(0, 8_000_000))
def test_no_gwei_appears_or_vanishes(fork, seed, score):
    """Against plain integers: the loop refuses an overflow and says what was paid and what was taken.

    The stake that holds a flag can exceed the active stake by who has just left, so what is paid is bounded by the
    base rewards of all who hold it times 54/64 and that ratio, and what is taken by the balances and the penalties.
    """
    rng = np.random.default_rng(seed)
    arrays = random_arrays(fork, rng, preset="mainnet")
    arrays["inactivity_scores"] = np.where(rng.random(len(arrays["balances"])) < 0.2, np.uint64(score), np.uint64(0))
    r = rules.get(fork)
    state = state_from_arrays(r, arrays, validator_capacity=ROWS, queue_capacity=48)
    oracle = as_lists(arrays)
    paid, taken = spec_loops.rewards_and_penalties(oracle, constants(fork, "mainnet"))

    after = arrays_from_state(step(r, state))
    assert [int(x) for x in after["balances"]] == oracle["balances"]
    assert total(after["balances"]) - total(arrays["balances"]) == paid - taken
    unchanged = after.keys() - {"balances"}
    assert all(np.array_equal(after[name], arrays.get(name, after[name])) for name in unchanged)

    pairs = deltas(r, state)
    assert paid == sum(total(reward) for reward, _ in pairs)
    assert 0 <= taken <= sum(total(penalty) for _, penalty in pairs)
    assert all(not np.any((np.asarray(reward) > 0) & (np.asarray(penalty) > 0)) for reward, penalty in pairs)
    previous = spec_loops.epoch_of(oracle, constants(fork, "mainnet")) - 1
    members = [i for i in range(len(oracle["balances"])) if spec_loops.is_active(oracle, i, previous)]
    stake = sum(oracle["effective_balance"][i] for i in members) // spec_loops.ETH
    active = spec_loops.total_active(oracle, constants(fork, "mainnet")) // spec_loops.ETH
    per_increment = 64 * spec_loops.ETH // spec_loops.isqrt(active * spec_loops.ETH)
    assert paid * active * 64 <= stake * per_increment * 54 * max(stake, active)


@pytest.mark.usefixtures("only_x64")
def test_a_penalty_stops_at_zero_before_the_next_reward():
    """Clipping between the pairs: a balance that the missed source empties keeps the whole reward of the head."""
    arrays = random_arrays("deneb", np.random.default_rng(3), preset="mainnet")
    n = len(arrays["balances"])
    never = np.full(n, np.iinfo(np.uint64).max, np.uint64)
    arrays |= {
        "finalized_epoch": 8998,
        "balances": np.full(n, 5, np.uint64),
        "effective_balance": np.full(n, 32 * 10**9, np.uint64),
        "inactivity_scores": np.zeros(n, np.uint64),
        "activation_epoch": np.zeros(n, np.uint64),
        "exit_epoch": never,
        "withdrawable_epoch": never,
        "slashed": np.zeros(n, bool),
        "previous_epoch_participation": np.full(n, 0b100, np.uint8),
    }
    r = rules.get("deneb")
    state = state_from_arrays(r, arrays)
    (_, source), (_, target), (head, _), _ = deltas(r, state)
    assert int(source[0]) > 5
    assert int(target[0]) > 5
    assert np.array_equal(step(r, state).balances, head)
