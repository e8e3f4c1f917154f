"""Closed forms against loops: queues, registry, withdrawals and sync rewards on random states at the edges."""

from __future__ import annotations

import functools
import math

import jax
import numpy as np
import pytest

from jaxstake.beacon import block, pending, registry, rules, withdrawals
from jaxstake.beacon.arrays import arrays_from_state, state_from_arrays
from jaxstake.beacon.integers import NEVER, integer_squareroot
from tests.beacon import random_states
from tests.beacon.random_states import QUEUE, ROWS, N, as_lists, constants, random_arrays
from tests.oracles import spec_loops

pytestmark = pytest.mark.usefixtures("only_x64")
SEEDS = range(120)
ALL = ("altair", "deneb", "electra", "fulu", "gloas")


@functools.cache
def compiled(function):
    return jax.jit(function, static_argnums=0)


def start(fork, seed):
    given = random_arrays(fork, np.random.default_rng(seed))
    r = rules.get(fork, preset="minimal")
    return r, given, state_from_arrays(r, given, validator_capacity=ROWS, queue_capacity=QUEUE)


def assert_same(state, oracle, where):
    assert not bool(state.overflowed)
    found = as_lists(arrays_from_state(state))
    assert found.keys() >= oracle.keys()
    for name, expected in oracle.items():
        assert found[name] == expected, (where, name)


@pytest.mark.parametrize("fork", ALL)
@pytest.mark.parametrize(
    ("function", "loop"),
    [
        (registry.process_registry_updates, spec_loops.registry_updates),
        (pending.process_pending_deposits, spec_loops.pending_deposits),
        (pending.process_pending_consolidations, spec_loops.pending_consolidations),
    ],
    ids=lambda f: f.__name__,
)
def test_epoch_steps(fork, function, loop):
    if loop is not spec_loops.registry_updates and not rules.has_balance_queues(rules.get(fork)):
        pytest.skip("no such queue at this fork")
    changed = 0
    for seed in SEEDS:
        r, given, state = start(fork, seed)
        oracle = as_lists(given)
        loop(oracle, constants(fork))
        changed += oracle != as_lists(given)
        assert_same(compiled(function)(r, state), oracle, (fork, seed))
    assert changed > len(SEEDS) // 4


@pytest.mark.parametrize("fork", ["capella", "deneb", "electra", "gloas"])
def test_withdrawals(fork):
    lengths = set()
    for seed in SEEDS:
        r, given, state = start(fork, seed)
        oracle = as_lists(given)
        for block_number in range(4):
            paid = spec_loops.withdrawals(oracle, constants(fork))
            state, expected = compiled(withdrawals.process_withdrawals)(r, state)
            n = int(expected.length)
            index, amount = (np.asarray(x)[:n].tolist() for x in (expected.validator_index, expected.amount))
            assert list(zip(index, amount, strict=True)) == paid, (fork, seed, block_number)
            assert np.all(np.asarray(expected.validator_index)[n:] == NEVER)
            assert np.all(np.asarray(expected.amount)[n:] == 0)
            assert_same(state, oracle, (fork, seed, block_number))
            lengths.add(n)
    assert len(lengths) == rules.get(fork, preset="minimal").max_withdrawals_per_payload + 1


@pytest.mark.parametrize("ample", [True, False], ids=["all at once", "seat after seat"])
def test_sync_aggregates(ample):
    """Also where a member of the committee is paid to zero between two of its seats."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        r, given, _ = start("deneb", seed)
        given["balances"] = np.uint64(10**10) + given["balances"] if ample else given["balances"] % np.uint64(40_000)
        state = state_from_arrays(r, given, validator_capacity=ROWS)
        committee, bits = rng.integers(0, 8, r.sync_committee_size), rng.integers(0, 2, r.sync_committee_size)
        proposer = int(rng.integers(0, 8))
        oracle = as_lists(given)
        spec_loops.sync_aggregate(oracle, constants("deneb"), committee.tolist(), bits.tolist(), proposer)
        after = compiled(sync)(r, state, committee, bits, proposer)
        assert_same(after, oracle, seed)


def sync(r, state, committee, bits, proposer):
    return block.process_sync_aggregate(
        r, state, committee_indices=committee, sync_committee_bits=bits, proposer_index=proposer
    )


@pytest.mark.parametrize("fork", ["altair", "electra", "gloas"])
def test_exits_of_a_mask_are_exits_one_by_one(fork):
    for seed in SEEDS:
        r, given, state = start(fork, seed)
        leaving = np.zeros(ROWS, bool)
        leaving[:N] = np.random.default_rng(seed).random(N) < 0.4
        together = compiled(registry.initiate_validator_exits)(r, state, leaving)
        oracle = as_lists(given)
        for i in np.flatnonzero(leaving):
            spec_loops.exit_validator(oracle, constants(fork), int(i))
        assert_same(together, oracle, (fork, seed))
        one_by_one = state
        for i in np.flatnonzero(leaving)[:6]:
            one_by_one = compiled(registry.initiate_validator_exit)(r, one_by_one, np.uint64(i))
        oracle = as_lists(given)
        for i in np.flatnonzero(leaving)[:6]:
            spec_loops.exit_validator(oracle, constants(fork), int(i))
        assert_same(one_by_one, oracle, (fork, seed))


def test_the_square_root_is_exact_everywhere():
    roots = np.concatenate([np.arange(2000), 2 ** np.arange(32), np.random.default_rng(1).integers(1, 2**32, 5000)])
    squares = [int(root) ** 2 for root in [*roots, 2**32 - 1]]
    near = {min(max(n + step, 0), 2**64 - 1) for n in squares for step in (-1, 0, 1)} | {2**64 - 1, 2**64 - 2}
    values = np.asarray(sorted(near), np.uint64)
    found = jax.jit(integer_squareroot)(values)
    assert np.asarray(found).tolist() == [math.isqrt(int(n)) for n in values]


def test_too_little_room_is_said():
    """A validator, or an entry of a queue, that does not fit is lost, and the state says so."""
    given = random_arrays("electra", np.random.default_rng(0)) | {
        "eth1_deposit_index": 10,
        "deposit_requests_start_index": 10,
    }
    given |= {
        "pending_deposits_pubkey_id": np.asarray([900, 901], np.uint64),
        "pending_deposits_cred_prefix": np.ones(2, np.uint8),
        "pending_deposits_amount": np.full(2, random_states.ETH, np.uint64),
        "pending_deposits_slot": np.zeros(2, np.uint64),
    }
    r = rules.get("electra", preset="minimal")
    for room in (0, 1, 2):
        state = state_from_arrays(r, given, validator_capacity=N + room)
        after = compiled(pending.process_pending_deposits)(r, state)
        assert bool(after.overflowed) == (room < 2)
        assert int(after.n_validators) == N + room
        assert np.asarray(after.pubkey_id)[N:].tolist() == [900, 901][:room]


def test_queues_without_any_room():
    given = random_arrays("electra", np.random.default_rng(0))
    none = {name: value[:0] for name, value in given.items() if name.startswith("pending_")}
    r = rules.get("electra", preset="minimal")
    state = state_from_arrays(r, given | none)
    oracle = as_lists(given | none)
    for function, loop in (
        (pending.process_pending_deposits, spec_loops.pending_deposits),
        (pending.process_pending_consolidations, spec_loops.pending_consolidations),
    ):
        state = compiled(function)(r, state)
        loop(oracle, constants("electra"))
    state, _ = compiled(withdrawals.process_withdrawals)(r, state)
    spec_loops.withdrawals(oracle, constants("electra"))
    assert_same(state, oracle, "no queues")
