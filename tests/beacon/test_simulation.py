"""Epochs in a row: conservation to the Gwei, the same result in parts, schedules, what is recorded, bad input."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.beacon import records, rules, simulation
from jaxstake.beacon.advance import advance
from jaxstake.beacon.arrays import arrays_from_state, healthy_state, state_from_arrays
from jaxstake.beacon.behaviour import Behaviour, Deposits, Event, Merge, Offline
from jaxstake.beacon.simulation import Simulation, consensus_income_eth, simulate
from tests.beacon.networks import ETH, network

pytestmark = pytest.mark.usefixtures("only_x64")
KEY = jax.random.key(3)
EPOCHS = 60


def values(key, shape):
    return jnp.exp(jax.random.normal(key, shape) - 3.0)


def eventful(fork):
    """Everything at once: outages, a cohort offline, slashings, exits, and from Electra deposits and merges."""
    later = {
        "deposits": (Deposits(from_epoch=2, to_epoch=9, amount=32 * ETH, per_epoch=2),),
        "merges": (Merge(first=100, count=40, from_epoch=3, per_epoch=4, group=8),),
    }
    return Behaviour(
        source=0.99,
        target=0.97,
        head=0.9,
        sync=0.9,
        proposal=0.95,
        group=np.arange(320) % 4,
        outage_chance=np.full(4, 0.05),
        recovery_chance=np.full(4, 0.3),
        offline=(Offline(first=150, count=120, from_epoch=4, to_epoch=40),),
        slashings=(Event(first=40, count=6, from_epoch=5, per_epoch=3),),
        exits=(Event(first=60, count=8, from_epoch=2, per_epoch=2),),
        **(later if rules.has_balance_queues(rules.get(fork)) else {}),
    )


@pytest.fixture(scope="module", params=["altair", "deneb", "electra", "gloas"])
def run(request, x64):
    if not x64:
        pytest.skip("needs double precision")
    fork = request.param
    r, state = network(fork, 300, capacity=320)
    behaviour = eventful(fork)
    start = simulation.begin(r, state, behaviour, key=KEY)
    seen = []
    end, record = simulate(
        r,
        state,
        behaviour,
        n_epochs=EPOCHS,
        key=KEY,
        record_every=13,
        sample_block_value=values,
        traced=(3, 45),
        observer=lambda now, _: seen.append((int(now.elapsed), int(np.asarray(now.state.balances).sum()))),
    )
    return r, start, behaviour, end, record, seen


def test_balances_change_by_what_is_recorded_to_the_gwei(run):
    _, start, _, end, record, seen = run
    assert [elapsed for elapsed, _ in seen] == [13, 26, 39, 52, 60]
    before = int(np.asarray(start.state.balances).sum())
    for place, (_, after) in enumerate(seen):
        tally = jax.tree.map(lambda x, at=place: x[at], record.tally)
        change = int(records.issued(tally)) - int(records.burnt(tally))
        change += int(tally.deposited) - int(tally.withdrawn) - int(tally.queued)
        assert after - before == change
        assert after == int(record.balance[place])
        before = after
    whole = jax.tree.map(np.sum, record.tally)
    income = float(np.sum(consensus_income_eth(end))) * ETH
    assert income == pytest.approx(int(records.issued(whole)) - int(records.burnt(whole)), rel=1e-12)
    assert float(np.sum(end.execution_income_eth)) == pytest.approx(float(whole.block_value_eth), rel=1e-12)


def test_everything_happened(run):
    r, start, _, end, record, _ = run
    whole = jax.tree.map(np.sum, record.tally)
    assert int(whole.epochs) == EPOCHS
    assert int(record.epoch[-1]) == int(start.state.slot) // r.slots_per_epoch + EPOCHS
    assert 0 < int(whole.blocks) < EPOCHS * r.slots_per_epoch
    for name in (*records.ISSUED, *records.BURNT):
        if name != "correlation_penalties":  # comes half a slashings vector later
            assert int(getattr(whole, name)) > 0, name
    assert 0 < int(whole.inactivity_penalties) < int(whole.attestation_penalties)
    assert int(whole.leak_epochs) > 5
    assert int(record.slashed_validators[-1]) == 6
    assert int(np.sum(np.asarray(end.state.exit_epoch[60:68]) < 2**63)) == 8
    assert not bool(end.state.overflowed)
    if r.has_withdrawals:
        assert int(whole.withdrawn) > 0
    if rules.has_balance_queues(r):
        assert int(end.next_key) == int(end.state.n_validators) == 300 + 2 * 7
        assert int(whole.queued) > 0
        assert np.asarray(end.state.cred_prefix[100:140]).tolist() == ([2] + [1] * 7) * 5


def test_nothing_is_negative_and_rows_in_reserve_stay_blank(run):
    _, _, _, end, _, _ = run
    state = end.state
    n = int(state.n_validators)
    assert int(np.asarray(state.balances).max()) < 3_000 * ETH  # what wrapped below zero is huge
    assert not np.any(np.asarray(state.balances)[n:])
    assert not np.any(np.asarray(state.current_epoch_participation)[n:])
    assert np.all(np.asarray(state.effective_balance) % ETH == 0)


def test_parts_give_what_the_whole_gives(run):
    r, start, behaviour, end, record, _ = run
    part, first = simulate(
        r, start, behaviour, n_epochs=30, key=KEY, record_every=13, sample_block_value=values, traced=(3, 45)
    )
    host = jax.tree.map(np.asarray, part)  # as read from a file
    rest, second = simulate(
        r, host, behaviour, n_epochs=30, key=KEY, record_every=13, sample_block_value=values, traced=(3, 45)
    )
    jax.tree.map(np.testing.assert_array_equal, rest, end)
    for name in ("balance", "finalized_epoch", "consensus_income_eth"):
        ours = np.concatenate([getattr(first, name), getattr(second, name)])
        np.testing.assert_array_equal(np.delete(ours, 2, 0), getattr(record, name))  # 30 ends a window of its own
    other, _ = simulate(r, start, behaviour, n_epochs=30, key=jax.random.key(4), sample_block_value=values)
    assert not np.array_equal(other.state.balances, part.state.balances)


def test_traced_validators_and_quantiles(run):
    _, _, _, end, record, _ = run
    assert record.traced["balance"].shape == (5, 2)
    assert record.traced["balance"][-1].tolist() == np.asarray(end.state.balances)[[3, 45]].tolist()
    income = np.asarray(consensus_income_eth(end))
    assert record.traced["consensus_income_eth"][-1].tolist() == income[[3, 45]].tolist()
    started = income[np.asarray(end.at_start) > 0]
    np.testing.assert_allclose(record.consensus_income_eth[-1], np.quantile(started, records.LEVELS), rtol=1e-12)
    both = started + np.asarray(end.execution_income_eth)[np.asarray(end.at_start) > 0]
    np.testing.assert_allclose(record.income_eth[-1], np.quantile(both, records.LEVELS), rtol=1e-12)


def test_a_network_without_fault_finalizes_and_pays_all():
    r, state = network("fulu", 256)
    end, record = simulate(r, state, Behaviour(), n_epochs=24, key=KEY)
    tally = jax.tree.map(lambda x: x[0], record.tally)
    assert int(tally.blocks) == 24 * r.slots_per_epoch
    assert float(tally.target_share) == 24.0
    assert int(records.burnt(tally)) == int(tally.leak_epochs) == 0
    assert int(end.state.finalized_epoch) == int(end.state.slot) // r.slots_per_epoch - 2
    assert np.all(np.asarray(end.state.previous_epoch_participation) == 7)


def test_a_cohort_comes_back_with_finality():
    """60 % go; the leak soon ejects them, since scores are high and balances low, until the others are two thirds."""
    r, state = network("deneb", 256, balance=17 * ETH, score=20_000)
    n = 256 * 6 // 10
    gone = Offline(first=0, count=n, from_epoch=3, to_epoch=10_000, until_finality=True)
    seen = []
    simulate(
        r,
        state,
        Behaviour(offline=(gone,)),
        n_epochs=160,
        key=KEY,
        record_every=4,
        observer=lambda now, record: seen.append(
            (bool(now.lost[0]), bool(now.over[0]), float(record.tally.target_share))
        ),
    )
    lost, over, share = (np.array(column) for column in zip(*seen, strict=True))
    back = int(np.argmax(over))
    assert lost[back - 1]
    assert 0 < back < 100
    assert np.all(share[2 : back - 1] / 4 < 0.7)
    assert np.all(share[back + 2 :] / 4 == 1.0)


def test_one_epoch_is_the_same_eager_and_compiled():
    r, state = network("electra", 40)
    start = simulation.begin(r, state, Behaviour(target=0.9, head=0.8), key=KEY)
    behaviour = Behaviour(target=jnp.asarray(0.9), head=jnp.asarray(0.8))
    tally = records.no_tally()
    compiled = jax.jit(advance, static_argnums=0)(r, start, behaviour, KEY, tally)
    eager = advance(r, start, behaviour, KEY, tally)
    jax.tree.map(np.testing.assert_array_equal, eager, compiled)


def away(first, count, from_epoch, to_epoch):
    return Offline(first=first, count=count, from_epoch=from_epoch, to_epoch=to_epoch)


def grouped(group):
    return {"group": group, "outage_chance": np.zeros(2), "recovery_chance": np.ones(2)}


def event(**changes):
    return Event(**({"first": 0, "count": 5, "from_epoch": 0, "per_epoch": 1} | changes))


def deposits(**changes):
    return (Deposits(**({"from_epoch": 0, "to_epoch": 5, "amount": 32 * ETH, "per_epoch": 1} | changes)),)


MISFITS = (
    ({"target": 1.2}, r"target must be in \[0, 1\], got 1.2"),
    ({"head": np.full(7, 0.5)}, r"head must be one number or one for each of the 64 rows, got shape \(7,\)"),
    ({"target": 0.5}, "head must be at most target"),
    ({"head": 0.5, "target": 0.5, "source": 0.4}, "target must be at most source"),
    ({"group": np.zeros(64, int)}, "group, outage_chance and recovery_chance must be given together"),
    (grouped(np.full(64, 2)), "group must be in 0 to 1"),
    (grouped(np.zeros(3, int)), r"group must have shape \(64,\)"),
    ({"offline": (away(60, 5, 0, 9),)}, r"offline\[0\] must be within the registry of 64 validators, got .* up to 64"),
    ({"offline": (away(0, 5, 9, 9),)}, r"offline\[0\].to_epoch must be above"),
    ({"offline": (away(0, 5, 0, 9), away(4, 5, 8, 12))}, r"offline must not overlap, got .* validators 4 to 4"),
    ({"slashings": (event(per_epoch=0),)}, r"slashings\[0\].per_epoch must be a whole number of at least 1, got 0"),
    ({"slashings": (event(), event(first=4))}, "slashings must not overlap"),
    ({"exits": (event(from_epoch=-1),)}, r"exits\[0\].from_epoch must be a whole number of at least 0"),
    ({"deposits": deposits(cred_prefix=3)}, "cred_prefix 0, 1 or 2"),
    ({"deposits": deposits(amount=32)}, "amount must be at least 1 ETH"),
    ({"deposits": deposits(every=0)}, r"deposits\[0\] must have per_epoch >= 1, every >= 1 .* got 1, 0 and 1"),
    ({"deposits": deposits(per_epoch=2**60)}, r"deposits\[0\].per_epoch must be at most 2\^62 over the 5 epochs"),
    ({"deposits": deposits(every=2**63)}, r"deposits\[0\].every must be at most 2\^62, got \d+"),
    ({"deposits": deposits(count=-1)}, r"deposits\[0\].count must be a whole number of at least 0, got -1"),
    ({"exits": (event(per_epoch=2**63),)}, r"exits\[0\].per_epoch must be at most 2\^62, got \d+"),
    ({"exits": (event(every=0),)}, r"exits\[0\].every must be a whole number of at least 1, got 0"),
    ({"exits": (event(every=2**61),)}, r"exits\[0\].every must be at most 2\^62 over the count of 5, got \d+"),
)


@pytest.mark.parametrize(("changes", "message"), MISFITS)
def test_behaviours_that_do_not_fit_are_refused(changes, message):
    r, state = network("electra", 64)
    with pytest.raises(ValueError, match=message):
        simulate(r, state, Behaviour(**changes), n_epochs=1, key=KEY)


def test_other_bad_arguments_are_refused():
    r, state = network("deneb", 64)
    behaviour = Behaviour()
    late = dataclasses.replace(state, slot=state.slot + 3)
    with pytest.raises(ValueError, match=r"slot must be the first of an epoch, a multiple of 8, got \d+"):
        simulate(r, late, behaviour, n_epochs=1, key=KEY)
    for bad, message in (
        ({"n_epochs": 0}, "n_epochs and record_every must be at least 1"),
        ({"levels": (1.5,)}, r"levels must be in \[0, 1\]"),
        ({"traced": (64,)}, r"traced must be in \[0, 63\]"),
    ):
        with pytest.raises(ValueError, match=message):
            simulate(r, state, behaviour, **{"n_epochs": 1, "key": KEY, **bad})
    merges = Behaviour(merges=(Merge(first=0, count=8, from_epoch=0, per_epoch=1, group=2),))
    with pytest.raises(ValueError, match="deposits and merges need the queues of Electra"):
        simulate(r, state, merges, n_epochs=1, key=KEY)


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (lambda key, shape: np.random.default_rng(0).exponential(size=shape), "must draw with its key"),
        (lambda key, shape: 0.05, r"floats of the shape it is asked for, \(2, 32\), got .* of shape \(\)"),
        (lambda key, shape: jax.random.randint(key, shape, 0, 9), "must give floats"),
        (lambda key, shape: jax.random.normal(key, shape), "must give values of at least 0 ETH, got -"),
        (lambda key, shape: jnp.log(jax.random.normal(key, shape)), "must give values of at least 0 ETH, got nan"),
    ],
)
def test_samplers_that_cannot_be_right_are_refused(sampler, message):
    r, state = network("deneb", 64)
    with pytest.raises(ValueError, match=message):
        simulate(r, state, Behaviour(), n_epochs=1, key=KEY, sample_block_value=sampler)


def test_a_network_without_room_or_without_anybody_is_refused(monkeypatch):
    r, state = network("electra", 64)
    deposits = Behaviour(deposits=(Deposits(from_epoch=0, to_epoch=5, amount=32 * ETH, per_epoch=1),))
    with pytest.raises(ValueError, match="deposits need rows for new validators, a validator_capacity above"):
        simulate(r, state, deposits, n_epochs=1, key=KEY)
    full = np.full(8, 32 * ETH)
    merges = Behaviour(merges=(Merge(first=0, count=4, from_epoch=0, per_epoch=1, group=2),))
    with pytest.raises(ValueError, match="merges need places in pending_deposits, a queue_capacity of at least 1"):
        simulate(r, healthy_state(r, full), merges, n_epochs=1, key=KEY)
    with pytest.raises(ValueError, match="deposits need places in pending_deposits"):
        simulate(r, healthy_state(r, full, validator_capacity=9), deposits, n_epochs=1, key=KEY)
    gone = dataclasses.replace(state, exit_epoch=jnp.zeros_like(state.exit_epoch))
    with pytest.raises(ValueError, match="somebody must be active in the epoch of the state, 9216, got nobody"):
        simulate(r, gone, Behaviour(), n_epochs=1, key=KEY)
    monkeypatch.setattr(simulation, "MOST_ROWS", 63)
    with pytest.raises(ValueError, match="a state must have at most 63 rows to draw from, got 64"):
        simulate(r, state, Behaviour(), n_epochs=1, key=KEY)
    with pytest.raises(ValueError, match="epoch must be at least 2, got 1"):
        healthy_state(r, full, epoch=1)


def test_times_offline_may_follow_each_other():
    r, state = network("deneb", 64)
    twice = tuple(Offline(first=0, count=5, from_epoch=a, to_epoch=a + 2) for a in (0, 2))
    assert isinstance(simulation.begin(r, state, Behaviour(offline=twice), key=KEY), Simulation)


def test_a_host_state_goes_round():
    r, state = network("electra", 64)
    end, _ = simulate(r, state, Behaviour(), n_epochs=2, key=KEY)
    again = state_from_arrays(r, arrays_from_state(end.state))
    assert int(again.slot) == int(end.state.slot)
