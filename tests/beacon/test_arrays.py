"""States from host arrays: what is refused, and in which words; and back."""

from __future__ import annotations

import dataclasses

import chex
import jax
import numpy as np
import pytest

from jaxstake.beacon import block, epoch, rewards, rules
from jaxstake.beacon.arrays import arrays_from_state, state_from_arrays
from tests.beacon.random_states import ETH, ROWS, N, random_arrays

FORKS = ("altair", "bellatrix", "capella", "deneb", "electra", "fulu", "gloas")


def given(fork="gloas"):
    return random_arrays(fork, np.random.default_rng(7), preset="mainnet")


def test_without_64_bit_integers_there_is_no_state(x64):
    if x64:
        pytest.skip("the suite runs with 64-bit integers")
    with pytest.raises(ValueError, match=r"needs 64-bit integers, but jax_enable_x64 is off, so that 32000000000 Gwei"):
        state_from_arrays(rules.get("gloas"), given())
    # A state that was put together by hand cannot run either.
    with pytest.raises(ValueError, match="needs 64-bit integers"):
        jax.jit(epoch.process_epoch, static_argnums=0)(rules.get("gloas"), None)


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize("fork", FORKS)
def test_round_trip(fork):
    arrays = given(fork)
    state = state_from_arrays(rules.get(fork), arrays, validator_capacity=ROWS, queue_capacity=50)
    found = arrays_from_state(state)
    assert found.keys() == arrays.keys() | (found.keys() & {"next_withdrawal_index", "next_withdrawal_validator_index"})
    for name, value in arrays.items():
        assert np.array_equal(found[name], value), name
    assert state.balances.shape == (ROWS,)
    assert int(state.n_validators) == N


@pytest.mark.usefixtures("only_x64")
def test_what_is_left_out_is_zero_or_empty():
    kept = {name: value for name, value in given("electra").items() if np.ndim(value) and "pending" not in name}
    del kept["pubkey_id"]
    state = state_from_arrays(rules.get("electra"), kept)
    assert int(state.slot) == int(state.pending_deposits.length) == int(state.earliest_exit_epoch) == 0
    assert np.array_equal(state.pubkey_id, np.arange(N))
    assert state.builders is None


def with_one(array, value, place=3):
    changed = array.copy()
    changed[place] = value
    return changed


BAD = [
    ("balances", lambda a: a[:-1], "effective_balance must be as long as balances (39), got length 40"),
    ("exit_epoch", lambda a: a[:-1], "exit_epoch must be as long as balances (40), got length 39"),
    ("balances", lambda a: a.astype(np.int64), "balances must be of type uint64, got int64"),
    ("balances", lambda a: a.astype(float), "balances must be of type uint64, got float64"),
    ("exit_epoch", lambda a: a.astype(np.uint32), "exit_epoch must be of type uint64, got uint32"),
    ("cred_prefix", lambda a: a.astype(np.uint64), "cred_prefix must be of type uint8, got uint64"),
    ("slashed", lambda a: a.astype(np.int64), "slashed must be of type bool or uint8, got int64"),
    ("slashed", lambda a: a.astype(np.uint8) + np.uint8(1), "slashed must be 0 or 1, got 2"),
    ("balances", lambda a: a[:, None], "balances must have one axis, got shape (40, 1)"),
    (
        "effective_balance",
        lambda a: with_one(a, 32 * ETH + 1),
        "effective_balance must be a multiple of 1000000000 Gwei, got 32000000001",
    ),
    (
        "effective_balance",
        lambda a: with_one(a, 2049 * ETH),
        "effective_balance must be at most 2048000000000 Gwei, got 2049000000000",
    ),
    ("slashings", lambda a: a[:-1], "slashings must have shape (8192,), got (8191,)"),
    ("justification_bits", lambda a: a[:-1], "justification_bits must have shape (4,), got (3,)"),
    ("pubkey_id", lambda a: with_one(a, a[4]), "pubkey_id must not repeat, got a key twice"),
    ("slot", lambda a: 1.5, "slot must be a non-negative integer, got 1.5"),
    ("slot", lambda a: -1, "slot must be a non-negative integer, got -1"),
    (
        "next_withdrawal_validator_index",
        lambda a: N,
        "next_withdrawal_validator_index must be an index below the 40 validators, got 40",
    ),
    (
        "pending_deposits_amount",
        lambda a: np.append(a, np.uint64(1)),
        "pending_deposits_amount must be as long as pending_deposits_pubkey_id",
    ),
    (
        "pending_consolidations_source",
        lambda a: with_one(a, 40, 0),
        "pending_consolidations_source must be an index below the 40 validators, got 40",
    ),
    (
        "builder_pending_payments_weight",
        lambda a: a[:-1],
        "builder_pending_payments_amount must be as long as builder_pending_payments_weight (63), got length 64",
    ),
]


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize(("name", "change", "message"), BAD, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(BAD)])
def test_bad_input_is_named(name, change, message):
    arrays = given()
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared in full below
        state_from_arrays(rules.get("gloas"), arrays | {name: change(arrays[name])})
    assert message in str(error.value)


@pytest.mark.usefixtures("only_x64")
def test_names_and_capacities():
    r, arrays = rules.get("gloas"), given()
    with pytest.raises(ValueError, match="unknown array 'balance'; did you mean balances"):
        state_from_arrays(r, arrays | {"balance": arrays["balances"]})
    with pytest.raises(ValueError, match="unknown array 'pending_deposits_amount'"):
        state_from_arrays(rules.get("deneb"), given("deneb") | {"pending_deposits_amount": np.zeros(0, np.uint64)})
    with pytest.raises(ValueError, match="balances must be given, got none"):
        state_from_arrays(r, {name: value for name, value in arrays.items() if name != "balances"})
    with pytest.raises(ValueError, match="validator_capacity must be at least the 40 entries given, got 39"):
        state_from_arrays(r, arrays, validator_capacity=39)
    with pytest.raises(ValueError, match=r"queue_capacity for \w+ must be at least"):
        state_from_arrays(r, arrays, queue_capacity=0)


@pytest.mark.usefixtures("only_x64")
def test_a_state_of_an_earlier_fork_or_of_another_type_is_refused():
    state = state_from_arrays(rules.get("deneb"), given("deneb"))
    with pytest.raises(ValueError, match="the state must hold deposit_requests_start_index, which the rules"):
        epoch.process_epoch(rules.get("electra"), state)
    wrong = dataclasses.replace(state, balances=state.balances.astype(np.int64))
    with pytest.raises(ValueError, match="balances must be of type uint64, got int64"):
        epoch.process_epoch(rules.get("deneb"), wrong)


def test_rules_are_exact_hashable_and_in_effect():
    fulu = rules.get("fulu")
    assert fulu == rules.get("fulu")
    assert hash(fulu) == hash(rules.get("fulu"))
    assert fulu != rules.get("fulu", preset="minimal")
    assert all(isinstance(value, (int, str)) for value in dataclasses.asdict(fulu).values())
    assert rules.get("deneb").max_effective_balance_gwei == 32 * ETH
    assert fulu.max_effective_balance_gwei == 2048 * ETH
    assert (rules.get("gloas").churn_limit_quotient, rules.get("gloas").validator_churn_limit_quotient) == (
        32768,
        65536,
    )
    assert [rules.get(name).waits_for_bridge for name in FORKS] == [False, False, False, False, True, False, False]
    assert [rules.get(name).has_withdrawals for name in FORKS] == [False, False, True, True, True, True, True]


@pytest.mark.usefixtures("only_x64")
def test_who_reports_is_the_proposer_unless_named():
    r, state = rules.get("deneb"), state_from_arrays(rules.get("deneb"), given("deneb"))
    named = block.slash_validator(r, state, slashed_index=1, proposer_index=2, whistleblower_index=2)
    unnamed = block.slash_validator(r, state, slashed_index=1, proposer_index=2)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(named), jax.tree.leaves(unnamed), strict=True))


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize("fork", ["deneb", "gloas"])
def test_eager_compiled_and_batched_agree_bit_for_bit(fork):
    r = rules.get(fork, preset="minimal")
    states = [
        state_from_arrays(
            r, random_arrays(fork, np.random.default_rng(seed)), validator_capacity=ROWS, queue_capacity=48
        )
        for seed in range(6)
    ]
    chex.clear_trace_counter()
    compiled = jax.jit(chex.assert_max_traces(lambda state: epoch.process_epoch(r, state), n=1))
    one_by_one = [compiled(state) for state in states]
    compiled(one_by_one[0])  # what comes out goes in again without another compilation
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
    batched = jax.jit(jax.vmap(lambda state: epoch.process_epoch(r, state)))(stacked)
    together = jax.tree.map(lambda *leaves: np.stack(leaves), *one_by_one)
    jax.tree.map(np.testing.assert_array_equal, batched, together)
    with jax.disable_jit():
        eager = epoch.process_epoch(r, states[0])
    jax.tree.map(np.testing.assert_array_equal, eager, one_by_one[0])


@pytest.mark.usefixtures("only_x64")
def test_unused_rows_stay_blank():
    r = rules.get("fulu", preset="minimal")
    for seed in range(20):
        arrays = random_arrays("fulu", np.random.default_rng(seed))
        small = state_from_arrays(r, arrays, validator_capacity=ROWS, queue_capacity=48)
        after = jax.jit(epoch.process_epoch, static_argnums=0)(r, small)
        n = int(after.n_validators)
        for name in ("balances", "effective_balance", "inactivity_scores", "slashed", "current_epoch_participation"):
            assert not np.asarray(getattr(after, name))[n:].any(), name
        for name in ("activation_eligibility_epoch", "activation_epoch", "exit_epoch", "withdrawable_epoch"):
            assert (np.asarray(getattr(after, name))[n:] == np.iinfo(np.uint64).max).all(), name


@pytest.mark.usefixtures("only_x64")
def test_tables_cover_every_effective_balance():
    for fork in ("deneb", "fulu"):
        r = rules.get(fork)
        multiples = np.asarray(rewards.by_increments(r))
        assert multiples[-1] * r.effective_balance_increment_gwei == r.max_effective_balance_gwei
        assert np.array_equal(multiples, np.arange(len(multiples)))
