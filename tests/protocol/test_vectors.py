"""The smooth formulas against the golden vectors of the specification, to the flooring of its integers.

Notation: T the total active balance in Gwei, A = T/1e9 its increments, m those of a validator, s = 64e9/sqrt(T) the
smooth base reward of an increment in Gwei, r = 64e9 // isqrt(T) the exact one.

The root. isqrt(T) lies in (sqrt(T) - 1, sqrt(T)], so 64e9/isqrt(T) lies in [s, s/(1 - 1/sqrt(T))) = [s, s (1 + e)) with
e = 1/(sqrt(T) - 1); the division then drops less than 1. Hence  -1 < r - s < s e.

A product of r. Every amount is floor(c r) for a factor c (nested floors are one), so it lies above c s by less than
c s e and below by at most c + 1: `c` for the floor of r and 1 for its own. A sum of n such adds their bounds.

Each comparison is element by element, over all files of a kind that are there, for every fork and preset. The only
other allowance is 16 units of rounding of the precision of the run, relative to the smooth value.
"""

from __future__ import annotations

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.protocol import forks, penalties, queues, rewards, slashing
from jaxstake.protocol.rewards import Participation, Performance
from tests.oracles import golden

NEVER = np.iinfo(np.uint64).max
MISSED_NOTHING = {"source": 1.0, "target": 1.0, "head": 1.0}
FLAGS = {"source": "timely_source_weight", "target": "timely_target_weight", "head": "timely_head_weight"}


@pytest.fixture(scope="module")
def rounding() -> float:
    return 16 * float(jnp.finfo(jnp.result_type(float)).eps)


def root_excess(total_gwei):
    """e = 1/(sqrt(T) - 1), by how much the floor of the root raises a reward."""
    return 1.0 / (np.sqrt(np.asarray(total_gwei, np.float64)) - 1.0)


def rows(function, fork, *columns):
    """A scalar formula over rows of columns in one compiled call, as float64 Gwei."""
    arrays = [jnp.asarray(np.asarray(column, np.float64), float) for column in columns]
    return jax.tree.map(lambda x: 1e9 * np.asarray(x, np.float64), _batched(function)(fork, *arrays))


@functools.cache
def _batched(function):
    def batch(fork, *arrays):
        return jax.vmap(lambda *row: function(fork, *row))(*arrays)

    return jax.jit(batch)


def assert_floored(exact, smooth, *, below, above=0.0, rounding, where):
    """`smooth - below <= exact <= smooth + above`, strictly but for rounding; `exact` in Gwei, any integer type."""
    exact, smooth = np.asarray(exact, np.float64), np.asarray(smooth, np.float64)
    slack = rounding * np.abs(smooth)
    low, high = smooth - below - slack, smooth + above + slack
    bad = ~((low <= exact) & (exact <= high))
    assert not bad.any(), (
        f"{where}: {bad.sum()} of {bad.size}, first {exact[bad][:3]} not in {low[bad][:3]} .. {high[bad][:3]}"
    )


def get_fork(name, preset):
    return forks.get(name, preset=preset)


# --- Kind "tables": the network's stake alone -----------------------------------------------------------------------


def table_row(fork, total_eth):
    nothing = {"source": 0.0, "target": 0.0, "head": 0.0}
    per_slot = total_eth / fork.slots_per_epoch
    slot_base = rewards.get_base_reward(fork, effective_balance_eth=per_slot, total_stake_eth=total_eth)
    sync_part = rewards.proposer_reward(
        fork, base_reward_eth=slot_base, own=1.0, participation=Participation(**nothing), block_rate=1.0
    )
    return (
        rewards.get_base_reward_per_increment(fork, total_stake_eth=total_eth),
        rewards.get_sync_participant_reward(fork, total_stake_eth=total_eth),
        sync_part / fork.sync_committee_size,
    )


def assert_scalar_rewards(fork, total, exact_base, exact_seat, exact_proposer, *, rounding, where):
    """Base reward per increment, reward of a sync seat, and the proposer's reward for including one seat.

    A seat is floor(c r) with c = A * 2/(64 * slots * seats). The proposer's part of it is floor(8/56 seat), so below
    8/56 of the smooth seat by less than 8/56 (c + 1) + 1, and above by less than 8/56 of the seat's excess.
    """
    base, seat, proposer = rows(table_row, fork, total / 1e9)
    e = root_excess(total)
    c = (
        total
        / 1e9
        * fork.sync_reward_weight
        / fork.weight_denominator
        / fork.slots_per_epoch
        / fork.sync_committee_size
    )
    part = fork.proposer_weight / (fork.weight_denominator - fork.proposer_weight)
    check = functools.partial(assert_floored, rounding=rounding, where=where)
    check(exact_base, base, below=1.0, above=base * e)
    check(exact_seat, seat, below=c + 1, above=seat * e)
    check(exact_proposer, proposer, below=part * (c + 1) + 1, above=proposer * e)


def test_tables(shared, rounding):
    found = golden.cases(shared, "tables")
    assert found
    for (name, preset), cases in found.items():
        for case in cases:
            total = case["table.total_active_balance"].astype(np.float64)
            assert_scalar_rewards(
                get_fork(name, preset),
                total,
                case["table.base_reward_per_increment"],
                case["table.sync_participant_reward"],
                case["table.sync_proposer_reward_per_participant"],
                rounding=rounding,
                where=case.name,
            )


def test_sync_aggregates(shared, rounding):
    found = golden.cases(shared, "sync")
    assert found
    for (name, preset), cases in found.items():
        total = np.asarray([golden.total_active_balance(case) for case in cases], np.float64)
        assert np.array_equal(total, [case["calc.total_active_balance"] for case in cases])
        assert_scalar_rewards(
            get_fork(name, preset),
            total,
            [case["calc.base_reward_per_increment"] for case in cases],
            [case["sync.participant_reward"] for case in cases],
            [case["sync.proposer_reward_per_participant"] for case in cases],
            rounding=rounding,
            where=[case.name for case in cases],
        )


# --- Kind "epoch": rewards and penalties of every validator ---------------------------------------------------------


def validator_row(fork, balance_eth, total_eth, has, share, score, slashed_eth, leak):
    """All per-validator amounts of one epoch; `has` and `share` are own flags and the network's, [3]."""
    base = rewards.get_base_reward(fork, effective_balance_eth=balance_eth, total_stake_eth=total_eth)
    earned, lost = [], []
    for flag, (name, weight) in enumerate(FLAGS.items()):
        # The reward is linear in the share. A state can have shares above 1, outside of the domain: stake that voted
        # in the previous epoch and has left in this one; what exceeds 1 multiplies the reward for 1.
        within, beyond = jnp.minimum(share[flag], 1.0), jnp.maximum(share[flag], 1.0)
        reward = rewards.attestation_reward(
            fork,
            base_reward_eth=base,
            weight=getattr(fork, weight),
            own=has[flag],
            network=within,
            leak_share=leak,
        )
        earned.append(reward * beyond)
        performance = Performance(**(MISSED_NOTHING | {name: has[flag]}))
        lost.append(rewards.missed_attestation_penalty(fork, base_reward_eth=base, performance=performance))
    inactivity = penalties.inactivity_penalty(fork, effective_balance_eth=balance_eth, inactivity_score=score)
    correlation = slashing.correlation_penalty(
        fork, effective_balance_eth=balance_eth, total_stake_eth=total_eth, slashed_stake_eth=slashed_eth
    )
    return base, jnp.stack(earned), jnp.stack(lost), inactivity * (1.0 - has[1]), correlation


@pytest.fixture(scope="module")
def epochs(shared):
    """Per (fork, preset): the cases, the columns of `validator_row` over all their validators, and the results."""
    found = {}
    for key, cases in golden.cases(shared, "epoch").items():
        parts = []
        for case in cases:
            count = len(case["in.balances"])
            total = golden.total_active_balance(case)
            assert total == int(case["calc.total_active_balance"]), case.name
            has = [golden.unslashed_participating(case, flag) for flag in range(3)]
            share = [golden.total_balance(case, mask) / total for mask in has]
            slashed = int(case["in.slashings"].sum(dtype=np.uint64))
            parts.append(
                (
                    case["in.effective_balance"] / 1e9,
                    np.full(count, total / 1e9),
                    np.stack(has, axis=1).astype(np.float64),
                    np.tile(share, (count, 1)),
                    case["in.inactivity_scores"].astype(np.float64),
                    np.full(count, slashed / 1e9),
                    np.full(count, float(case["calc.is_in_inactivity_leak"])),
                )
            )
        columns = tuple(np.concatenate(column) for column in zip(*parts, strict=True))
        found[key] = cases, columns, rows(validator_row, get_fork(*key), *columns)
    return found


def stacked(cases, name):
    return np.concatenate([case[name] for case in cases])


def accounted(cases, name):
    """An array of the accounting of all cases; the genesis epoch has none, and its files no deltas."""
    return np.concatenate([np.zeros(len(case["in.balances"])) if at_genesis(case) else case[name] for case in cases])


def at_genesis(case):
    return int(case["in.current_epoch"]) == 0


@pytest.mark.parametrize("kind", ["tables", "epoch", "slash", "sync", "attestation"])
def test_every_listed_file_is_found(shared, kind):
    """Discovery goes by name; the manifest says what the names are of."""
    listed = json.loads((shared / "vectors" / "manifest.json").read_text())["files"]
    found = {case.name: key for key, cases in golden.cases(shared, kind).items() for case in cases}
    expected = {name: (file["fork"], file["preset"]) for name, file in listed.items() if file["kind"] == kind}
    assert expected
    assert expected.items() <= found.items()


def test_no_accounting_in_the_genesis_epoch(epochs):
    """No balance moves in the rewards step of epoch 0, which is what `accounted` takes for granted."""
    genesis = [case for cases, _, _ in epochs.values() for case in cases if at_genesis(case)]
    assert all(np.array_equal(case["sep.rewards.balances"], case["in.balances"]) for case in genesis)


def test_base_rewards(epochs, rounding):
    """m r: below m s by at most m, above by less than m s e."""
    assert epochs
    for key, (cases, (balance, total, *_), (base, *_)) in epochs.items():
        assert_floored(
            stacked(cases, "calc.base_reward"),
            base,
            below=balance,
            above=base * root_excess(total * 1e9),
            rounding=rounding,
            where=key,
        )


@pytest.mark.parametrize("flag", range(3))
def test_flag_rewards(epochs, rounding, flag):
    """m r w P // (64 A): c = m w q/64 with q = P/A. Zero for who is not eligible, in a leak, or without the flag."""
    assert epochs
    for key, (cases, (balance, total, has, share, *_), (_, earned, *_)) in epochs.items():
        fork = get_fork(*key)
        c = balance * getattr(fork, list(FLAGS.values())[flag]) / fork.weight_denominator * share[:, flag]
        eligible = accounted(cases, "calc.eligible") == 1
        assert_floored(
            accounted(cases, f"delta.flag{flag}_rewards"),
            np.where(eligible, earned[:, flag], 0.0),
            below=np.where(has[:, flag] * eligible > 0, c + 1, 0.0),
            above=earned[:, flag] * root_excess(total * 1e9),
            rounding=rounding,
            where=key,
        )


@pytest.mark.parametrize("flag", range(3))
def test_flag_penalties(epochs, rounding, flag):
    """m r w // 64 for the eligible who miss source or target, leak or not: c = m w/64; nothing for a missed head."""
    assert epochs
    for key, (cases, (balance, total, has, *_), (_, _, lost, *_)) in epochs.items():
        fork = get_fork(*key)
        c = balance * getattr(fork, list(FLAGS.values())[flag]) / fork.weight_denominator
        missed = (accounted(cases, "calc.eligible") == 1) & (has[:, flag] == 0) & (flag != 2)
        assert_floored(
            accounted(cases, f"delta.flag{flag}_penalties"),
            np.where(accounted(cases, "calc.eligible") == 1, lost[:, flag], 0.0),
            below=np.where(missed, c + 1, 0.0),
            above=lost[:, flag] * root_excess(total * 1e9),
            rounding=rounding,
            where=key,
        )


def test_inactivity_penalties(epochs, rounding):
    """EB score // (4 quotient) for the eligible who miss the target: one floor, so below by less than 1."""
    assert epochs
    for key, (cases, _, (_, _, _, inactivity, _)) in epochs.items():
        eligible = accounted(cases, "calc.eligible") == 1
        assert_floored(
            accounted(cases, "delta.inactivity_penalties"),
            np.where(eligible, inactivity, 0.0),
            below=1.0,
            rounding=rounding,
            where=key,
        )


def test_correlation_penalties(epochs, rounding):
    """What the slashings step alone takes from who is halfway to withdrawability, the balance at most.

    Before Electra m * min(k S, T) // T whole ETH: below by less than 1e9 Gwei. From Electra m times a floored
    penalty per increment: below by less than m. Capping both at the balance does not widen a gap. Others lose nothing.
    """
    assert epochs
    due_somewhere = 0
    for key, (cases, (balance, *_), (*_, correlation)) in epochs.items():
        fork = get_fork(*key)
        midpoint = int(fork.epochs_per_slashings_vector) // 2
        due = np.concatenate(
            [
                (case["in.slashed"] == 1)
                & (case["in.withdrawable_epoch"] != NEVER)
                & (case["in.withdrawable_epoch"] == case["in.current_epoch"] + np.uint64(midpoint))
                for case in cases
            ]
        )
        before, after = stacked(cases, "in.balances"), stacked(cases, "sep.slashings.balances")
        width = 1e9 if fork.churn_rule == "validators" else balance
        assert_floored(
            before - after,  # unsigned: a gain would wrap around and fail
            np.where(due, np.minimum(correlation, before.astype(np.float64)), 0.0),
            below=np.where(due, width, 0.0),
            rounding=rounding,
            where=key,
        )
        due_somewhere += due.sum()
    assert due_somewhere > 0


# --- Kind "slash": a slashing in a block ----------------------------------------------------------------------------


def slash_row(fork, balance_eth, queue_eth, total_eth):
    delay = slashing.withdrawability_delay_epochs(fork, exit_queue_eth=queue_eth, total_stake_eth=total_eth)
    return (
        slashing.initial_slashing_penalty(fork, effective_balance_eth=balance_eth),
        slashing.whistleblower_reward(fork, effective_balance_eth=balance_eth),
        delay * 1e-9,  # `rows` turns ETH into Gwei
    )


@pytest.mark.parametrize("group", ["slash_single", "slash_chain"])
def test_slashings(shared, rounding, group):
    """Initial penalty EB // quotient and reporter's reward EB // quotient: each one floor.

    Where the slashed validator, the proposer and the named whistleblower are three, their changes are those two alone
    (the proposer's 8/64 of the reward and the whistleblower's rest add up to it; a penalty stops at a zero balance).
    Where two are one, the sum of all changes is the reward less the penalty, a Gwei to either side.
    """
    found = golden.cases(shared, "slash")
    assert found
    for key, cases in found.items():
        fork = get_fork(*key)
        for case in cases:
            effective = case[f"{group}.effective_balance"]
            before, after = (case[f"{group}.balance_{when}"].astype(np.int64) for when in ("before", "after"))
            gains = {
                who: case[f"{group}.{who}_balance_after"].astype(np.int64)
                - case[f"{group}.{who}_balance_before"].astype(np.int64)
                for who in ("proposer", "whistleblower")
            }
            index, proposer = case["slash.index"], case["slash.proposer_index"]
            reporter = np.where(case["slash.whistleblower_index"] == NEVER, proposer, case["slash.whistleblower_index"])
            zeros = np.zeros(len(index))
            penalty, reward, _ = rows(slash_row, fork, effective / 1e9, zeros, zeros + 1e6)
            penalty = np.minimum(penalty, before)
            apart = (index != proposer) & (index != reporter)
            rewarded = gains["proposer"] + np.where(reporter != proposer, gains["whistleblower"], 0)
            check = functools.partial(assert_floored, rounding=rounding, where=(case.name, group))
            check((before - after)[apart], penalty[apart], below=1.0)
            check(rewarded[apart], reward[apart], below=1.0)
            everyone = (after - before) * apart + rewarded
            check(everyone, reward - penalty, below=1.0 + rounding * penalty, above=1.0 + rounding * penalty)


def test_withdrawability_of_the_slashed(shared, rounding):
    """The larger of the slashings vector and exit epoch + 256, given the exit epoch that the queue assigned.

    The stake that makes the smooth queue as long is the epochs beyond the lookahead times the churn limit.
    """
    found = golden.cases(shared, "slash")
    assert found
    checked = 0
    for key, cases in found.items():
        fork = get_fork(*key)
        for case in cases:
            epoch, total_eth = int(case["in.current_epoch"]), golden.total_active_balance(case) / 1e9
            churn = float(queues.exit_churn_limit(fork, total_stake_eth=total_eth))
            exit_epoch = case["slash_chain.exit_epoch"].astype(np.int64)
            queued = exit_epoch - epoch - int(fork.max_seed_lookahead) - 1
            fresh = queued >= 0  # the others had asked to exit before they were slashed
            count = fresh.sum()
            _, _, delay = rows(slash_row, fork, np.zeros(count), queued[fresh] * churn, np.full(count, total_eth))
            exact = case["slash_chain.withdrawable_epoch"].astype(np.int64)[fresh] - epoch
            np.testing.assert_allclose(delay, exact, rtol=rounding, err_msg=case.name)
            checked += count
    assert checked > 0


# --- Kind "attestation": the proposer's reward ----------------------------------------------------------------------


def proposer_row(fork, balance_eth, total_eth, new):
    """The proposer's part of the flags that one attester newly earns."""
    base = rewards.get_base_reward(fork, effective_balance_eth=balance_eth, total_stake_eth=total_eth)
    flags = Participation(source=new[0], target=new[1], head=new[2], sync=0.0)
    return base, rewards.proposer_reward(fork, base_reward_eth=base, own=1.0, participation=flags, block_rate=1.0)


def test_proposer_rewards_for_attestations(shared, rounding):
    """sum over new flags of m r w, // 448: c = sum m w/448 over all attesters, one floor at the end.

    448 = (64 - 8) * 64/8, which is 8/56 of 1/64.
    """
    found = golden.cases(shared, "attestation")
    assert found
    for key, cases in found.items():
        fork = get_fork(*key)
        weights = np.asarray([getattr(fork, weight) for weight in FLAGS.values()])
        denominator = (fork.weight_denominator - fork.proposer_weight) * fork.weight_denominator / fork.proposer_weight
        for case in cases:
            total = golden.total_active_balance(case)
            increments = case["in.effective_balance"] / 1e9
            current = case["att.target_is_current_epoch"][:, None] == 1
            before, after = (
                np.where(current, case[f"att.current_participation_{when}"], case[f"att.previous_participation_{when}"])
                for when in ("before", "after")
            )
            new = ((after & ~before)[..., None] >> np.arange(3, dtype=np.uint8)) & 1  # [attestation, validator, flag]
            count, validators, _ = new.shape
            base, parts = rows(
                proposer_row,
                fork,
                np.tile(increments, count),
                np.full(count * validators, total / 1e9),
                new.reshape(-1, 3),
            )
            smooth = parts.reshape(count, validators).sum(axis=1)
            c = (increments[:, None] * weights * new).sum(axis=(1, 2)) / denominator
            check = functools.partial(assert_floored, rounding=rounding, where=case.name)
            check(case["att.proposer_reward"], smooth, below=c + 1, above=smooth * root_excess(total))
            exact_base = case["calc.base_reward"]
            check(exact_base, base[:validators], below=increments, above=base[:validators] * root_excess(total))
