"""Quiet epochs, which have a loop of their own, give what all others give, validator for validator."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.beacon import quiet, records, simulation
from jaxstake.beacon.advance import advance
from jaxstake.beacon.behaviour import Behaviour, Event
from jaxstake.beacon.simulation import simulate
from tests.beacon.networks import EPOCH, ETH, NEVER, network

pytestmark = pytest.mark.usefixtures("only_x64")
KEY = jax.random.key(3)
busy = jax.jit(advance, static_argnums=0, static_argnames="sample_block_value")


def values(key, shape):
    return jnp.exp(jax.random.normal(key, shape) - 3.0)


@pytest.mark.parametrize("fork", ["deneb", "gloas"])
def test_quiet_epochs_give_what_the_others_give(fork):
    """Before and after a few exits, with a validator that the leak will eject, and with a withdrawal in every sweep."""
    r, state = network(fork, 256)
    rich = state.balances + np.uint64(ETH)
    low = state.effective_balance.at[7].set(16 * ETH + ETH)
    scores = state.inactivity_scores.at[7].set(10**8)
    state = dataclasses.replace(
        state, effective_balance=low, balances=rich.at[7].set(17 * ETH), inactivity_scores=scores
    )
    behaviour = Behaviour(
        target=0.9, head=0.8, sync=0.9, proposal=0.9, exits=(Event(first=3, count=2, from_epoch=6, per_epoch=1),)
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
        calm.append(bool(quiet.is_quiet(r, s.state, behaviour, s.elapsed, quiet.watch(r, s.state))))
        s, tally = busy(r, s, behaviour, KEY, tally, sample_block_value=values)
    jax.tree.map(np.testing.assert_array_equal, whole, s)
    jax.tree.map(lambda ours, theirs: np.testing.assert_array_equal(ours[0], theirs), record.tally, tally)
    return calm, s
