"""Votes and inclusion of an epoch, given which slots have blocks, against a walk forward from slot to slot."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.beacon import accessors, duties, rules
from jaxstake.beacon.behaviour import Behaviour
from tests.beacon.networks import ETH, network

pytestmark = pytest.mark.usefixtures("only_x64")
N, KEY = 30_000, jax.random.key(5)
WEIGHTS = (14, 26, 14)


def patterns(slots, many=40):
    """Which slots have blocks: none, all, one, all but one, one run, and random ones from rare to nearly always."""
    rng = np.random.default_rng(1)
    numbers = np.arange(slots)
    yield numbers < 0
    yield numbers >= 0
    yield numbers == 5
    yield numbers != 5
    yield numbers == slots - 1
    yield (numbers > 2) & (numbers < 6)
    for share in np.linspace(0.03, 0.97, many):
        yield rng.random(slots) < share


def walk(present):
    """For each slot how far the next block is, at most an epoch on; the pattern goes on in the next epoch."""
    slots, found = len(present), []
    for slot in range(slots):
        delay = 1
        while delay <= slots and not present[(slot + delay) % slots]:
            delay += 1
        found.append(delay if delay <= slots else None)
    return found


def in_time(present):
    """Slots whose attestations are in time for source, target and head."""
    root = math.isqrt(len(present))
    waits = walk(present)
    return (
        [wait is not None and wait <= root for wait in waits],
        [wait is not None for wait in waits],
        [wait == 1 for wait in waits],
    )


def blocks(present):
    return duties.Blocks(proposer=jnp.arange(len(present)), present=jnp.asarray(present))


@functools.cache
def compiled(function):
    return jax.jit(function, static_argnums=0)


@pytest.mark.parametrize("preset", ["minimal", "mainnet"])
def test_slots_in_time_are_those_of_the_walk(preset):
    r = rules.get("deneb", preset=preset)
    for present in patterns(r.slots_per_epoch):
        found = compiled(duties.timely_slots)(r, blocks(present))
        for ours, theirs in zip(found, in_time(present), strict=True):
            assert np.asarray(ours).tolist() == theirs


def inclusion(r, blocks, held, total):
    return duties.inclusion_rewards(r, blocks, held, total_active_balance=total)


@pytest.mark.parametrize("preset", ["minimal", "mainnet"])
def test_rewards_for_inclusion_are_those_of_the_walk(preset):
    """Block after block: each attested slot pays the next block its part of each flag, rounded down as one."""
    r = rules.get("deneb", preset=preset)
    slots, total = r.slots_per_epoch, 987_654 * ETH
    per_increment = 64 * ETH // math.isqrt(total)
    rng = np.random.default_rng(2)
    for present in patterns(slots):
        held = [int(share * total) // ETH * ETH for share in sorted(rng.random(3), reverse=True)]
        earned = [[0, 0, 0] for _ in range(slots)]
        for slot, wait in enumerate(walk(present)):
            for flag, timely in enumerate(in_time(present)):
                if timely[slot]:
                    earned[(slot + wait) % slots][flag] += 1
        whole = [stake // ETH * per_increment * weight for stake, weight in zip(held, WEIGHTS, strict=True)]
        shares = [sum(timely) for timely in in_time(present)]
        expected = [
            sum(value * own // share for value, own, share in zip(whole, block, shares, strict=True) if share) // 448
            for block in earned
        ]
        stakes = tuple(jnp.uint64(stake) for stake in held)
        found = np.asarray(compiled(inclusion)(r, blocks(present), stakes, jnp.uint64(total)))
        assert found[present].tolist() == np.asarray(expected)[present].tolist()
        assert not np.any(np.asarray(expected)[~present])
        if not np.any(present):
            continue
        # All that is held by flags that somebody includes, times 8/56 of w/64, less a Gwei for each of the divisions.
        exact = sum(value for value, share in zip(whole, shares, strict=True) if share) * 8 / 56 / 64
        assert 0 <= exact - int(np.sum(found[present])) < np.sum(present) * (1 + 3 / 448) + 1e-6


@pytest.mark.parametrize("preset", ["minimal", "mainnet"])
def test_without_a_block_nothing_is_included(preset):
    r = rules.get("deneb", preset=preset)
    none = np.zeros(r.slots_per_epoch, bool)
    found = compiled(inclusion)(r, blocks(none), (jnp.uint64(ETH),) * 3, jnp.uint64(2 * ETH))
    assert not np.any(np.where(none, found, 0))


@functools.cache
def chosen_votes(fork):
    """A compiled function from present blocks and a key to flags; the last rows are offline, slashed or not active."""
    r, state = network(fork, N, preset="mainnet")
    chance = Behaviour(source=0.95, target=0.9, head=0.7)
    up = np.arange(N) < N - 30
    slashed = np.arange(N) >= N - 20
    left = np.where(np.arange(N) >= N - 10, np.uint64(5), np.uint64(2**64 - 1))
    state = dataclasses.replace(state, slashed=jnp.asarray(slashed), exit_epoch=jnp.asarray(left))
    able = accessors.get_standing(r, state).unslashed & up
    return jax.jit(lambda present, key: duties.draw_votes(r, chance, able, blocks(present), key))


@pytest.mark.parametrize("number", range(12))
def test_frequencies_of_flags(number):
    """Each flag as often as its chance times the share of slots in time, within 4 standard errors of a binomial."""
    present = list(patterns(32))[[0, 1, 2, 3, 5, 6, 12, 18, 24, 30, 36, 44][number]]
    found = np.asarray(chosen_votes("deneb")(present, jax.random.fold_in(KEY, number)))
    assert not np.any(found[-30:])
    have = np.stack([found[:-30] >> flag & 1 for flag in range(3)])
    timely = np.array(in_time(present))
    chances = np.array([0.95, 0.9, 0.7])
    for flag in range(3):
        expected = chances[flag] * timely[flag].mean()
        error = np.sqrt(expected * (1 - expected) / have.shape[1])
        assert abs(have[flag].mean() - expected) <= 4 * error
    # One draw decides all, so a pair is as likely as the less likely of the two, where both are in time.
    for less, more in ((1, 0), (2, 1), (2, 0)):
        both = chances[less] * (timely[less] & timely[more]).mean()
        error = np.sqrt(both * (1 - both) / have.shape[1])
        assert abs((have[less] & have[more]).mean() - both) <= 4 * error
    assert not np.any(have[2] & ~have[1] & 1)
