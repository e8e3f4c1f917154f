"""Simulations from any state and with any behaviour: no Gwei is made or lost, and nothing wraps around."""

from __future__ import annotations

import dataclasses

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from jaxstake.beacon import records, rules
from jaxstake.beacon.arrays import state_from_arrays
from jaxstake.beacon.behaviour import Behaviour, Deposits, Event, Merge, Offline
from jaxstake.beacon.simulation import begin, consensus_income_eth, simulate
from tests.beacon.networks import network
from tests.beacon.random_states import EPOCH, ETH, QUEUE, ROWS, N, random_arrays

pytestmark = pytest.mark.usefixtures("only_x64")
MOST_EPOCHS, NEVER = 12, 2**64 - 1


def values(key, shape):
    return jnp.exp(jax.random.normal(key, shape) - 3.0)


def any_state(fork, rng):
    """A state at the edges of the rules, in the first slot of an epoch."""
    r = rules.get(fork, preset="minimal")
    arrays = random_arrays(fork, rng) | {"slot": EPOCH * r.slots_per_epoch}
    return r, state_from_arrays(r, arrays, validator_capacity=ROWS, queue_capacity=QUEUE)


def any_behaviour(fork, rng):
    """Chances for each row, often 0 or 1; outages; schedules anywhere. Structure and shapes are always the same."""

    def chance(*shape):
        drawn = rng.random(shape) ** rng.choice([0.1, 1.0, 5.0])
        return np.where(rng.random(shape) < 0.2, np.round(drawn), drawn)

    head, target, source = np.sort(chance(3, ROWS), axis=0)
    place = lambda count: int(rng.integers(0, N - count + 1))  # noqa: E731
    soon = lambda: int(rng.integers(0, 6))  # noqa: E731
    lengths = rng.integers(1, 12, 4).tolist()
    starts = rng.integers(0, 8, 2).tolist()
    later = {
        "deposits": (Deposits(from_epoch=soon(), to_epoch=7, amount=int(rng.integers(1, 2_100)) * ETH, per_epoch=1),),
        "merges": (Merge(first=place(lengths[3]), count=lengths[3], from_epoch=soon(), per_epoch=3, group=4),),
    }
    return Behaviour(
        source=source,
        target=target,
        head=head,
        sync=chance(ROWS),
        proposal=chance(ROWS),
        group=rng.integers(0, 3, ROWS),
        outage_chance=chance(3),
        recovery_chance=chance(3),
        offline=(
            Offline(first=0, count=int(rng.integers(1, 20)), from_epoch=starts[0], to_epoch=starts[0] + lengths[0]),
            Offline(first=20, count=20, from_epoch=starts[1], to_epoch=starts[1] + 30, until_finality=True),
        ),
        slashings=(Event(first=place(lengths[1]), count=lengths[1], from_epoch=soon(), per_epoch=2),),
        exits=(Event(first=place(lengths[2]), count=lengths[2], from_epoch=soon(), per_epoch=2),),
        **(later if rules.has_balance_queues(rules.get(fork)) else {}),
    )


def whole(array):
    """An array as Python integers, which do not wrap around."""
    return [int(x) for x in np.asarray(array)]


@pytest.mark.parametrize("fork", ["altair", "deneb", "electra", "gloas"])
@given(seed=st.integers(0, 2**32 - 1), n_epochs=st.integers(1, MOST_EPOCHS))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_nothing_is_made_lost_or_wrapped(fork, seed, n_epochs):
    rng = np.random.default_rng(seed)
    r, state = any_state(fork, rng)
    end, record = simulate(
        r,
        state,
        any_behaviour(fork, rng),
        n_epochs=n_epochs,
        key=jax.random.key(seed),
        sample_block_value=values,
        levels=(0.5,),
        record_every=MOST_EPOCHS,
    )
    after, tally = end.state, jax.tree.map(lambda x: x[0], record.tally)
    assert int(tally.epochs) == int(end.elapsed) == n_epochs
    assert int(after.slot) == (EPOCH + n_epochs) * r.slots_per_epoch

    # Conservation to the Gwei, in integers of any size.
    before, now = sum(whole(state.balances)), sum(whole(after.balances))
    amounts = {name: int(getattr(tally, name)) for name in (*records.ISSUED, *records.BURNT)}
    issued, burnt = (sum(amounts[name] for name in names) for names in (records.ISSUED, records.BURNT))
    came = int(tally.deposited) - int(tally.withdrawn) - int(tally.queued)
    assert now - before == issued - burnt + came
    assert now == int(record.balance[0])
    income = np.rint(np.asarray(consensus_income_eth(end)) * ETH)
    assert int(income.sum()) == issued - burnt
    assert float(np.sum(end.execution_income_eth)) == pytest.approx(float(tally.block_value_eth), rel=1e-12, abs=1e-12)

    # Nothing passed below zero: it would be huge, and nobody can have more than there ever was.
    most = before + issued + int(tally.deposited)
    assert max(*whole(after.balances), *amounts.values(), int(tally.withdrawn), int(tally.queued)) <= most
    assert max(whole(after.inactivity_scores)) <= max(whole(state.inactivity_scores)) + 4 * n_epochs
    effective = np.asarray(after.effective_balance)
    assert not np.any(effective % np.uint64(ETH))
    assert np.all(effective <= r.max_effective_balance_gwei)
    assert int(tally.inactivity_penalties) < 2**63

    # Rows and queues.
    n = int(after.n_validators)
    assert N <= n <= ROWS
    assert not bool(after.overflowed)
    for name in ("balances", "effective_balance", "inactivity_scores", "current_epoch_participation", "slashed"):
        assert not np.any(np.asarray(getattr(after, name))[n:])
    assert np.all(np.asarray(after.activation_epoch)[n:] == NEVER)
    keys = np.asarray(after.pubkey_id)[:n]
    assert len(np.unique(keys)) == n

    # What never goes back.
    assert np.all(np.asarray(after.slashed) >= np.asarray(state.slashed))
    for name in ("activation_epoch", "exit_epoch"):
        old, new = (np.asarray(getattr(s, name)) for s in (state, after))
        assert np.array_equal(new[old != NEVER], old[old != NEVER])
    assert int(after.finalized_epoch) >= int(state.finalized_epoch)
    assert int(after.finalized_epoch) <= int(after.current_justified_epoch) < EPOCH + n_epochs
    for name in ("previous_epoch_participation", "current_epoch_participation"):
        assert np.asarray(getattr(after, name)).max() < 8
    assert int(tally.blocks) <= n_epochs * r.slots_per_epoch
    assert 0.0 <= float(tally.target_share) <= n_epochs + 1e-9


def test_new_validators_have_keys_of_their_own():
    """Also where a deposit for a validator that is yet to come waits in the queue."""
    r, state = network("electra", 64, capacity=80)
    queue = state.pending_deposits
    waiting = dataclasses.replace(
        queue,
        pubkey_id=queue.pubkey_id.at[:3].set(jnp.array([64, 65, 66], jnp.uint64)),
        cred_prefix=queue.cred_prefix.at[:3].set(1),
        amount=queue.amount.at[:3].set(32 * ETH),
        length=jnp.uint64(3),
    )
    state = dataclasses.replace(state, pending_deposits=waiting)
    behaviour = Behaviour(deposits=(Deposits(from_epoch=0, to_epoch=2, amount=32 * ETH, per_epoch=1),))
    assert int(begin(r, state, behaviour, key=jax.random.key(0)).next_key) == 67
    end, _ = simulate(r, state, behaviour, n_epochs=14, key=jax.random.key(0))
    assert int(end.state.pending_deposits.length) == 0
    assert int(end.state.n_validators) == 64 + 3 + 2
