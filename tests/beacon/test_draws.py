"""The draws of the engine against their exact distributions: bits, events, and validators by effective balance."""

from __future__ import annotations

import dataclasses
import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxstake.beacon import draws, simulation
from jaxstake.beacon.behaviour import Behaviour
from tests.beacon.networks import EPOCH, ETH, network

pytestmark = pytest.mark.usefixtures("only_x64")
KEY = jax.random.key(2024)
LEAST = 1e-4
"""A fixed key gives a fixed p-value; draws that are right give one below this once in 10,000 times."""
ROWS = 1 << 17
GROUP, SEATS = 160, 512
EFFECTIVE = {"deneb": (0, 1, 8, 17, 31, 32), "electra": (1, 32, 33, 256, 1_000, 2_048)}


def fits(counts, expected):
    """p-value of counts under expected numbers."""
    return stats.chisquare(counts, expected).pvalue


@functools.cache
def words(purpose: int) -> np.ndarray:
    """Bits of all rows under some key."""
    return np.asarray(draws.bits(jax.random.fold_in(KEY, purpose), jnp.arange(ROWS)))


def of_pairs(left, right):
    """p-value of the independence of two arrays of integers in 0 to 15."""
    table = np.bincount(left.astype(np.int64) * 16 + right.astype(np.int64), minlength=256).reshape(16, 16)
    return stats.chi2_contingency(table).pvalue


# --- Bits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0, 8, 16, 24])
def test_every_byte_is_uniform(shift):
    counts = np.bincount((words(0) >> np.uint32(shift)) & 255, minlength=256)
    assert fits(counts, np.full(256, ROWS / 256)) > LEAST


def test_every_bit_is_a_fair_coin_and_independent_of_the_others():
    """32 counts, and 496 correlations of pairs, each within 4.5 standard deviations."""
    ones = (words(0)[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    signs = 2.0 * ones - 1.0
    correlations = signs.T @ signs / np.sqrt(ROWS)
    np.fill_diagonal(correlations, 0.0)
    assert np.abs(signs.sum(0)).max() / np.sqrt(ROWS) < 4.5
    assert np.abs(correlations).max() < 4.5


def test_no_row_repeats_another():
    """Two bijections in a row are one: every row has a word of its own, under every key."""
    assert len(np.unique(words(0))) == len(np.unique(words(1))) == ROWS


@pytest.mark.parametrize("distance", [1, 2, 32, 512])
@pytest.mark.parametrize("shift", [0, 14, 28])
def test_neighbouring_rows_are_independent(distance, shift):
    nibble = (words(0) >> np.uint32(shift)) & 15
    assert of_pairs(nibble[:-distance], nibble[distance:]) > LEAST


@pytest.mark.parametrize("shift", [0, 14, 28])
def test_keys_are_independent_also_of_successive_epochs(shift):
    now, later = ((words(epoch) >> np.uint32(shift)) & 15 for epoch in (0, 1))
    assert of_pairs(now, later) > LEAST
    shared = np.unpackbits((words(0) ^ words(1)).view(np.uint8)).mean()
    assert abs(shared - 0.5) < 4 / np.sqrt(4 * 32 * ROWS)


def test_one_row_is_uniform_over_keys():
    """What a validator draws in 32,768 epochs."""
    keys = jax.vmap(lambda epoch: jax.random.fold_in(KEY, epoch))(jnp.arange(1 << 15))
    drawn = np.asarray(jax.vmap(lambda key: draws.bits(key, jnp.arange(3)))(keys))
    for row in range(3):
        for shift in (0, 24):
            counts = np.bincount((drawn[:, row] >> np.uint32(shift)) & 255, minlength=256)
            assert fits(counts, np.full(256, 128.0)) > LEAST
    assert of_pairs(drawn[:-1, 0] >> np.uint32(28), drawn[1:, 0] >> np.uint32(28)) > LEAST


@pytest.mark.parametrize("chance", [0.03, 0.5, 0.9, 0.99])
def test_votes_are_independent_of_slots(chance):
    """One word decides both: the low five bits the slot, all but the lowest the vote."""
    slot = words(0) & 31
    vote = np.asarray(draws.happens(words(0), chance))
    table = np.stack([np.bincount(slot[vote == side], minlength=32) for side in (False, True)])
    assert stats.chi2_contingency(table).pvalue > LEAST
    assert fits(table.sum(0), np.full(32, ROWS / 32)) > LEAST
    assert abs(vote.mean() - chance) < 4 * np.sqrt(chance * (1 - chance) / ROWS)


def test_events_are_exact_at_the_ends():
    every = np.array([0, 1, 2, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1], np.uint32)
    assert not np.any(draws.happens(every, 0.0))
    assert np.all(draws.happens(every, 1.0))
    for chance, numerator in ((0.0, 0), (2.0**-31, 1), (0.25, 2**29), (1.0, 2**31)):
        limit = draws.threshold(chance)
        assert int(limit) == numerator
        assert np.array_equal(draws.happens(every, limit), every.astype(np.int64) // 2 < numerator)
    mixed = np.asarray(draws.happens(every[:4], jnp.array([0.0, 1.0, 0.0, 1.0])))
    assert mixed.tolist() == [False, True, False, True]


# --- Validators by effective balance ---------------------------------------------------------------------------------


def acceptance(fork, effective):
    """The specification's chance to be taken: random values r with EB * (2^k - 1) >= MAX * r, of 2^k."""
    k, most = (8, 32) if fork == "deneb" else (16, 2_048)
    taken = sum(effective * (2**k - 1) >= most * r for r in range(2**k))
    assert taken == min(effective * (2**k - 1) // most + 1, 2**k)
    return Fraction(taken, 2**k)


@functools.cache
def groups(fork):
    """Six groups of different effective balances that take turns, and three of full balance that are not active."""
    n = 9 * GROUP
    effective = np.resize(np.array([*EFFECTIVE[fork], *[EFFECTIVE[fork][-1]] * 3], np.uint64), n) * np.uint64(ETH)
    r, state = network(fork, n, preset="mainnet", capacity=n + 7, effective=effective)
    kind = np.append(np.arange(n) % 9, np.full(7, 9))
    entry, leave = (np.asarray(getattr(state, name)).copy() for name in ("activation_epoch", "exit_epoch"))
    entry[kind == 6] = EPOCH + 1  # not yet
    leave[kind == 7] = EPOCH  # no longer
    entry[kind == 8] = 2**64 - 1  # never
    leave[kind == 0] = EPOCH + 1  # for the last time
    return r, dataclasses.replace(state, activation_epoch=jnp.asarray(entry), exit_epoch=jnp.asarray(leave)), kind


@functools.cache
def sampler(fork, places):
    """A compiled function of the state and of keys."""
    r = groups(fork)[0]
    return jax.jit(lambda state, keys: jax.lax.map(lambda key: draws.sample_by_balance(r, state, key, places), keys))


def follows_the_balances(fork, counts, groups=slice(0, 6)):
    """p-value of the counts of some of the groups."""
    odds = np.array([float(acceptance(fork, m)) for m in EFFECTIVE[fork]])[groups]
    return fits(counts[groups], counts[groups].sum() * odds / odds.sum())


@pytest.mark.parametrize("fork", ["deneb", "electra"])
@pytest.mark.parametrize(("places", "times"), [(32, 1_000), (SEATS, 100)], ids=["proposers", "committees"])
def test_counts_follow_the_balances(fork, places, times):
    """Also where the balance is zero, which the 8 bits of Deneb still take once in 256 times."""
    _, state, kind = groups(fork)
    found = np.asarray(sampler(fork, places)(state, jax.random.split(KEY, times)))
    assert found.shape == (times, places)
    counts = np.bincount(kind[found.ravel()], minlength=10)
    assert not np.any(counts[6:])  # who is not active, and rows not in use
    assert follows_the_balances(fork, counts) > LEAST
    for group in (3, 5):  # within a group all are alike
        own = np.bincount(found.ravel(), minlength=len(kind))[kind == group]
        assert fits(own, np.full(GROUP, own.sum() / GROUP)) > LEAST
    for place in (0, places - 1):  # and every place is like another
        counts = np.bincount(kind[found[:, place]], minlength=10)
        assert follows_the_balances(fork, counts, slice(3, 6)) > LEAST


@pytest.mark.parametrize("fork", ["deneb", "electra"])
def test_places_are_independent(fork):
    """Whether a place goes to the largest says nothing about the next one, nor about the same one of the next draw."""
    _, state, kind = groups(fork)
    large = kind[np.asarray(sampler(fork, 32)(state, jax.random.split(KEY, 1_000)))] == 5
    for left, right in ((large[:, :-1], large[:, 1:]), (large[:-1], large[1:])):
        table = np.bincount(left.ravel() * 2 + right.ravel(), minlength=4).reshape(2, 2)
        assert stats.chi2_contingency(table).pvalue > LEAST


@pytest.mark.parametrize("fork", ["deneb", "electra"])
def test_nobody_active_leaves_places_empty(fork):
    r, state, kind = groups(fork)
    keys = jax.random.split(KEY, 5)
    nobody = dataclasses.replace(state, exit_epoch=jnp.zeros(len(kind), jnp.uint64))
    assert np.all(np.asarray(sampler(fork, 32)(nobody, keys)) == len(kind))
    alone = dataclasses.replace(
        nobody,
        exit_epoch=nobody.exit_epoch.at[77].set(EPOCH + 1),
        effective_balance=state.effective_balance.at[77].set(r.max_effective_balance_gwei),
    )
    assert np.all(np.asarray(sampler(fork, 32)(alone, keys)) == 77)


def test_the_committee_of_a_simulation_follows_the_balances():
    """8 committees, with which simulations begin, by key."""
    r, state, kind = groups("electra")
    seats = [
        np.asarray(simulation.begin(r, state, Behaviour(), key=jax.random.fold_in(KEY, turn)).committee)
        for turn in range(8)
    ]
    counts = np.bincount(kind[np.concatenate(seats)], minlength=10)
    assert not np.any(counts[6:])
    assert follows_the_balances("electra", counts, slice(2, 6)) > LEAST


def test_everybody_sits_before_anybody_sits_again():
    """As in the specification: with full balances each of 8 has 4 of the 32 seats, and none of 40 has two."""
    full = np.full(40, 2_048 * ETH, np.uint64)
    few, many = (network("electra", n, effective=full[:n]) for n in (8, 40))
    seats = np.asarray(draws.sample_committee(*few, KEY))
    assert np.bincount(seats).tolist() == [4] * 8
    assert len(set(np.asarray(draws.sample_committee(*many, KEY)).tolist())) == 32
    orders = {tuple(np.asarray(draws.sample_committee(*few, jax.random.key(turn)))[:8].tolist()) for turn in range(6)}
    assert len(orders) == 6
    assert all(sorted(order) == list(range(8)) for order in orders)


def test_a_simulation_starts_from_host_arrays():
    r, state = network("electra", 40)
    host = jax.tree.map(np.asarray, state)
    ours, theirs = (simulation.begin(r, one, Behaviour(), key=KEY) for one in (state, host))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
