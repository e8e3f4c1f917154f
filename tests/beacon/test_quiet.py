"""Quiet epochs, which have a loop of their own, give what all others give, validator for validator."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.beacon import quiet, records, rules, simulation
from jaxstake.beacon.advance import advance
from jaxstake.beacon.behaviour import Behaviour, Deposits, Event
from jaxstake.beacon.simulation import simulate
from tests.beacon.networks import EPOCH, ETH, NEVER, network

pytestmark = pytest.mark.usefixtures("only_x64")
KEY = jax.random.key(3)
busy = jax.jit(advance, static_argnums=0, static_argnames="sample_block_value")


def values(key, shape):
    return jnp.exp(jax.random.normal(key, shape) - 3.0)


@pytest.mark.parametrize(
    ("changes", "until"),
    [
        ({}, NEVER),
        ({"exit_epoch": EPOCH + 5}, EPOCH + 5),
        ({"exit_epoch": EPOCH}, EPOCH + 1),  # who left just now was there in the epoch before
        ({"exit_epoch": EPOCH - 1}, NEVER),
        ({"activation_epoch": EPOCH + 9}, EPOCH + 9),
        ({"activation_epoch": EPOCH}, EPOCH + 1),
        ({"withdrawable_epoch": EPOCH + 7}, NEVER),
        ({"slashed": True, "withdrawable_epoch": EPOCH + 7}, EPOCH + 7),
        ({"slashed": True, "withdrawable_epoch": EPOCH + 32 + 3}, EPOCH + 3),  # punished half a vector before
        ({"slashed": True, "withdrawable_epoch": EPOCH + 32}, EPOCH),
        ({"slashed": True, "withdrawable_epoch": EPOCH + 31}, EPOCH + 31),
        ({"slashed": True}, NEVER - 32),
    ],
)
def test_a_stretch_ends_where_somebody_else_counts(changes, until):
    r, state = network("electra", 16)
    assert r.epochs_per_slashings_vector == 64
    columns = {name: getattr(state, name).at[5].set(value) for name, value in changes.items()}
    assert int(quiet.watch(r, dataclasses.replace(state, **columns)).until) == until


@pytest.mark.parametrize("fork", ["altair", "deneb", "gloas"])
def test_quiet_epochs_give_what_the_others_give(fork):
    """Before and after a few exits, with a validator that the leak will eject, and with a withdrawal in every sweep."""
    r, state = network(fork, 256, capacity=260)
    rich = state.balances + np.uint64(ETH)
    low = state.effective_balance.at[7].set(16 * ETH + ETH)
    scores = state.inactivity_scores.at[7].set(10**8)
    state = dataclasses.replace(
        state, effective_balance=low, balances=rich.at[7].set(17 * ETH), inactivity_scores=scores
    )
    later = {"deposits": (Deposits(from_epoch=5, to_epoch=12, amount=32 * ETH, per_epoch=2, every=5),)}
    behaviour = Behaviour(
        target=0.9,
        head=0.8,
        sync=0.9,
        proposal=0.9,
        exits=(Event(first=3, count=2, from_epoch=6, per_epoch=1, every=3),),
        **(later if rules.has_balance_queues(r) else {}),
    )
    behaviour = jax.tree.map(jnp.asarray, behaviour)
    whole, record = simulate(r, state, behaviour, n_epochs=16, key=KEY, sample_block_value=values)
    calm, s = busy_epochs(r, state, behaviour, whole, record)
    assert calm[0]
    assert not all(calm)
    assert int(s.state.exit_epoch[7]) < 2**63
    assert int(s.state.exit_epoch[3]) < 2**63


@pytest.mark.parametrize("seed", range(4))
def test_quiet_epochs_while_validators_begin_and_cease_to_count(seed):
    """Activations, exits, releases and correlation penalties that fall due at random within the epochs."""
    r, state = network("electra", 256)
    random, now = np.random.default_rng(seed), EPOCH

    def soon(chance, after, otherwise):
        drawn = (after + random.integers(-3, 13, 256)).astype(np.uint64)
        return np.where(random.random(256) < chance, drawn, np.uint64(otherwise))

    slashed = random.random(256) < 0.03
    leaves = soon(0.02, now, NEVER)
    half = np.where(random.random(256) < 0.5, r.epochs_per_slashings_vector // 2, 0)
    state = dataclasses.replace(
        state,
        activation_epoch=jnp.asarray(soon(0.02, now, 0)),
        exit_epoch=jnp.asarray(np.where(slashed, np.uint64(now - 4), leaves)),
        slashed=jnp.asarray(slashed),
        withdrawable_epoch=jnp.asarray(np.where(slashed, soon(1.0, now + half, NEVER), np.uint64(NEVER))),
        slashings=state.slashings.at[0].set(500 * ETH),
    )
    behaviour = jax.tree.map(jnp.asarray, Behaviour(target=0.9, head=0.8, sync=0.9, proposal=0.9))
    whole, record = simulate(r, state, behaviour, n_epochs=16, key=KEY, sample_block_value=values)
    calm, _ = busy_epochs(r, state, behaviour, whole, record)
    assert sum(calm) >= 8
    assert not all(calm)
    assert int(record.tally.correlation_penalties[0]) > 0


def busy_epochs(r, state, behaviour, whole, record):
    """Sixteen epochs, each taken for a busy one, must give the same; which of them were quiet, and the end."""
    s, tally, calm = simulation.begin(r, state, behaviour, key=KEY), records.no_tally(), []
    for _ in range(16):
        calm.append(bool(quiet.is_quiet(r, s.state, behaviour, s.elapsed)))
        s, tally = busy(r, s, behaviour, KEY, tally, sample_block_value=values)
    jax.tree.map(np.testing.assert_array_equal, whole, s)
    jax.tree.map(lambda ours, theirs: np.testing.assert_array_equal(ours[0], theirs), record.tally, tally)
    return calm, s
