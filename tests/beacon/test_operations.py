"""Operations on many validators against loops over one: slashings, exits, consolidations, sweeps of many blocks."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.beacon import duties, operations, pending, rules, sweep
from jaxstake.beacon.arrays import arrays_from_state, healthy_state, state_from_arrays
from jaxstake.beacon.behaviour import Deposits, Merge
from tests.beacon.random_states import EPOCH, ETH, QUEUE, ROWS, N, as_lists, constants, random_arrays
from tests.oracles import spec_loops, spec_requests

pytestmark = pytest.mark.usefixtures("only_x64")
SEEDS = range(60)


@functools.cache
def compiled(function):
    return jax.jit(function, static_argnums=0)


def start(fork, seed, **changes):
    given = random_arrays(fork, np.random.default_rng(seed)) | changes
    r = rules.get(fork, preset="minimal")
    return r, given, state_from_arrays(r, given, validator_capacity=ROWS, queue_capacity=QUEUE)


def assert_same(state, oracle, where):
    assert not bool(state.overflowed)
    found = as_lists(arrays_from_state(state))
    for name, expected in oracle.items():
        assert found[name] == expected, (where, name)


def chosen(seed, share=0.4):
    mask = np.zeros(ROWS, bool)
    mask[:N] = np.random.default_rng(1_000 + seed).random(N) < share
    return mask


def slashed(r, state, mask, proposer):
    return operations.slash_validators(r, state, mask, proposer_index=proposer)


@pytest.mark.parametrize("fork", ["altair", "bellatrix", "electra", "gloas"])
def test_slashings_are_those_one_by_one(fork):
    for seed in SEEDS:
        r, given, state = start(fork, seed)
        mask, proposer = chosen(seed), N - 1
        mask[proposer] = False  # its penalty would come between its rewards
        oracle, before = as_lists(given), sum(as_lists(given)["balances"])
        for i in np.flatnonzero(mask):
            spec_requests.slash(oracle, constants(fork), int(i), proposer)
        after, sums = compiled(slashed)(r, state, mask, np.int64(proposer))
        assert_same(after, oracle, (fork, seed))
        assert sum(oracle["balances"]) - before == int(sums.rewards) - int(sums.penalties)


@pytest.mark.parametrize("fork", ["deneb", "fulu"])
def test_exits_are_those_one_by_one(fork):
    changed = 0
    for seed in SEEDS:
        r, given, state = start(fork, seed)
        oracle = as_lists(given)
        for i in np.flatnonzero(chosen(seed)):
            spec_requests.leave(oracle, constants(fork), int(i))
        changed += oracle != as_lists(given)
        assert_same(compiled(operations.request_exits)(r, state, chosen(seed)), oracle, (fork, seed))
    assert changed > len(SEEDS) // 2


def merged(r, state, pairs, total):
    def request(state, pair):
        state = operations.process_consolidation_request(
            r, state, source_index=pair[0], target_index=pair[1], total_active_balance=total
        )
        return state, None

    return jax.lax.scan(request, state, pairs)[0]


@pytest.mark.parametrize("fork", ["electra", "gloas"])
def test_consolidation_requests_are_those_one_by_one(fork):
    """With so much stake that there is churn; some switch, some merge, some may not."""
    joined = switched = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        r, given, _ = start(fork, seed)
        quotient = r.consolidation_churn_limit_quotient or r.churn_limit_quotient
        given["effective_balance"] = np.full(N, 2_048 * ETH, np.uint64)
        given["activation_epoch"] = np.where(given["activation_epoch"] < EPOCH - 300, 0, given["activation_epoch"])
        state = state_from_arrays(r, given, validator_capacity=ROWS, queue_capacity=QUEUE)
        pairs = rng.integers(0, N, (24, 2))
        pairs[::3, 1] = pairs[::3, 0]
        oracle, c = as_lists(given), constants(fork)
        total = spec_loops.total_active(oracle, c)
        assert total // quotient > 2 * r.min_activation_balance_gwei
        for source, target in pairs.tolist():
            before = len(oracle["pending_consolidations_source"]), sum(p == 2 for p in oracle["cred_prefix"])
            spec_requests.consolidate(oracle, c, source, target, QUEUE)
            joined += len(oracle["pending_consolidations_source"]) - before[0]
            switched += sum(p == 2 for p in oracle["cred_prefix"]) - before[1]
        assert_same(compiled(merged)(r, state, pairs, np.uint64(total)), oracle, (fork, seed))
    assert joined > 20
    assert switched > 20


def swept(r, state, blocks):
    return sweep.sweep_of_blocks(r, state, blocks, transferred=jnp.full(ROWS, 7, jnp.int64))


@pytest.mark.parametrize("fork", ["capella", "electra"])
def test_sweeps_of_many_blocks_are_those_one_by_one(fork):
    none = {"pending_partial_withdrawals_" + name: np.zeros(0, np.uint64) for name in (
        "validator_index", "amount", "withdrawable_epoch")}  # fmt: skip
    paid = set()
    for seed in SEEDS:
        r, given, _ = start(fork, seed)
        rng = np.random.default_rng(seed)
        given |= none if fork == "electra" else {}
        rich = rng.random(N) < rng.random()
        given["effective_balance"] = np.where(rich, np.uint64(32 * ETH), given["effective_balance"])
        given["balances"] = np.where(rich, np.uint64(33 * ETH), given["balances"])
        given["cred_prefix"] = np.where(rich, np.uint8(1), given["cred_prefix"])
        state = state_from_arrays(r, given, validator_capacity=ROWS, queue_capacity=QUEUE)
        assert bool(sweep.sweeps_alone(r, state))
        oracle = as_lists(given)
        blocks = int(rng.integers(0, r.slots_per_epoch + 1))
        for _ in range(blocks):
            paid.add(len(spec_loops.withdrawals(oracle, constants(fork))))
        before = np.asarray(state.balances)
        after, moved, total = compiled(swept)(r, state, np.int64(blocks))
        assert_same(after, oracle, (fork, seed))
        change = before.astype(np.int64) - np.asarray(after.balances).astype(np.int64)
        assert np.asarray(moved).tolist() == (7 - change).tolist()
        assert int(total) == change.sum()
    assert paid == set(range(r.max_withdrawals_per_payload + 1))


def test_the_sync_committee_is_paid_seat_after_seat():
    """Also where a member runs out between two of its seats, and where a seat is empty."""
    short = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        balances, committee = rng.integers(0, 2_000, ROWS), rng.integers(0, 12, 32)
        committee[rng.random(32) < 0.1] = ROWS
        gains, losses = rng.integers(0, 300, 32), rng.integers(0, 900, 32)
        after, taken = balances.copy(), 0
        seats = [(seat, row) for seat, row in enumerate(committee) if row < ROWS]
        for seat, row in seats:
            after[row] += gains[seat]
        for seat, row in seats:
            loss = min(losses[seat], after[row])
            short += loss < losses[seat]
            after[row], taken = after[row] - loss, taken + loss
        u64 = lambda values: jnp.asarray(values, jnp.uint64)  # noqa: E731
        sync = duties.SyncRewards(gains=u64(gains), losses=u64(losses), proposers=u64(np.zeros(8)))
        found, sum_taken = compiled(paid_sync)(0, u64(balances), jnp.asarray(committee), sync)
        assert np.asarray(found).tolist() == after.tolist()
        assert int(sum_taken) == taken
    assert short > 20


def paid_sync(_, balances, committee, sync):
    return duties.pay_sync(balances, committee, sync)


def test_deposits_are_queued_under_new_keys():
    r, _, state = start("fulu", 1, **{
        f"pending_deposits_{name}": np.zeros(0, np.uint8 if name == "cred_prefix" else np.uint64)
        for name in ("pubkey_id", "cred_prefix", "amount", "slot")
    })  # fmt: skip
    entry = Deposits(from_epoch=2, to_epoch=4, amount=32 * ETH, per_epoch=3, cred_prefix=2)
    lengths = []
    for elapsed in range(5):
        after, key = operations.append_deposits(state, entry, np.uint64(elapsed), jnp.asarray(900, jnp.uint64))
        lengths.append((int(after.pending_deposits.length), int(key)))
    assert lengths == [(0, 900), (0, 900), (3, 903), (3, 903), (0, 900)]
    slow, key, lengths = dataclasses.replace(entry, to_epoch=9, every=2), jnp.asarray(900, jnp.uint64), []
    after = state
    for elapsed in range(6):
        after, key = operations.append_deposits(after, slow, np.uint64(elapsed), key)
        lengths.append(int(after.pending_deposits.length))
    assert lengths == [0, 0, 2, 3, 5, 6]
    assert np.asarray(after.pending_deposits.pubkey_id[:6]).tolist() == list(range(900, 906)) == [*range(900, int(key))]
    after, _ = operations.append_deposits(state, entry, np.uint64(2), jnp.asarray(900, jnp.uint64))
    queue = after.pending_deposits
    assert np.asarray(queue.pubkey_id[:3]).tolist() == [900, 901, 902]
    assert np.asarray(queue.amount[:3]).tolist() == [32 * ETH] * 3
    assert np.asarray(queue.slot[:3]).tolist() == [int(state.slot)] * 3
    assert r.slots_per_epoch == 8


@pytest.mark.parametrize("keys", [range(6), (5, 3, 0, 1, 2, 4), (0, 1, 2, 3, 4, 77), (9, 8, 7, 6, 5, 4)])
def test_keys_of_deposits_are_found_whatever_their_order(keys):
    r = rules.get("electra", preset="minimal")
    state = healthy_state(r, np.full(6, 32 * ETH), validator_capacity=8)
    state = dataclasses.replace(state, pubkey_id=state.pubkey_id.at[:6].set(np.array(keys, np.uint64)))
    for wanted in ((0, 5), (6, 7, 100), (3, 6), (77,), (5, 4, 9)):
        found = pending._validator_of(state, jnp.asarray(wanted, jnp.uint64))
        assert found.tolist() == [list(keys).index(key) if key in keys else 8 for key in wanted]


def test_groups_are_merged_into_their_first():
    """Four 32-ETH validators become one of 128 ETH through the queues, and no Gwei is lost on the way."""
    _, given, _ = start("electra", 3)
    whole = {name: value for name, value in given.items() if not name.startswith("pending_")}
    whole |= {
        "effective_balance": np.full(N, 2_048 * ETH, np.uint64),
        "balances": np.full(N, 2_048 * ETH, np.uint64),
        "activation_epoch": np.zeros(N, np.uint64),
        "exit_epoch": np.full(N, np.iinfo(np.uint64).max),
        "cred_prefix": np.where(np.arange(N) < 8, 1, 2).astype(np.uint8),
    }
    whole["effective_balance"][:8] = whole["balances"][:8] = 32 * ETH
    r = rules.get("electra", preset="minimal")
    state = state_from_arrays(r, whole, validator_capacity=ROWS, queue_capacity=QUEUE)
    entry = Merge(first=0, count=8, from_epoch=0, per_epoch=5, group=4)
    total = np.uint64(spec_loops.total_active(as_lists(whole), constants("electra")))
    for elapsed in (0, 1):
        state = operations.request_merges(r, state, entry, np.uint64(elapsed), total_active_balance=total)
    assert np.asarray(state.cred_prefix[:8]).tolist() == [2, 1, 1, 1] * 2
    queue = state.pending_consolidations
    assert np.asarray(queue.source[: int(queue.length)]).tolist() == [1, 2, 3, 5, 6, 7]
    assert np.asarray(queue.target[: int(queue.length)]).tolist() == [0, 0, 0, 4, 4, 4]
