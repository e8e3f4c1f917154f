"""Schedules: whom they reach in which epoch, against the list of all validators and their epochs."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxstake.beacon.behaviour import Deposits, Event, arriving, due, most_arriving

pytestmark = pytest.mark.usefixtures("only_x64")
small = st.integers(1, 30)
reached = jax.jit(jax.vmap(due, in_axes=(None, 0)))


def of_event(event, n):
    starts, ends = reached(jax.tree.map(np.uint64, event), np.arange(n, dtype=np.uint64))
    return [tuple(pair) for pair in zip(starts.tolist(), ends.tolist(), strict=True)]


def test_what_is_due_of_a_schedule():
    event = Event(first=10, count=7, from_epoch=4, per_epoch=3)
    assert of_event(event, 9) == [(10, 10)] * 4 + [(10, 13), (13, 16), (16, 17), (17, 17), (17, 17)]
    slow = Event(first=0, count=3, from_epoch=1, per_epoch=1, every=2)
    assert of_event(slow, 8) == [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (3, 3)]


@settings(deadline=None)
@given(first=st.integers(0, 50), count=small, from_epoch=st.integers(0, 9), per_epoch=small, every=small)
def test_every_validator_is_reached_once_in_its_epoch(first, count, from_epoch, per_epoch, every):
    event = Event(first=first, count=count, from_epoch=from_epoch, per_epoch=per_epoch, every=every)
    expected = {first + i: from_epoch + i * every // per_epoch for i in range(count)}
    found = {row: epoch for epoch, (a, b) in enumerate(of_event(event, 1024)) for row in range(a, b)}
    assert found == expected


def test_schedules_of_any_length_do_not_overflow():
    event = Event(first=0, count=2**24, from_epoch=3, per_epoch=2**24, every=2**38)
    found = [tuple(map(int, due(event, np.uint64(epoch)))) for epoch in (2, 3, 4, 3 + 2**14, 2**62)]
    assert found == [(0, 0), (0, 1), (1, 1), (1, 2), (2**24, 2**24)]


@settings(deadline=None)
@given(per_epoch=small, every=small, from_epoch=st.integers(0, 9), long=st.integers(1, 60))
def test_deposits_come_evenly_and_in_full(per_epoch, every, from_epoch, long):
    entry = Deposits(from_epoch=from_epoch, to_epoch=from_epoch + long, amount=10**9, per_epoch=per_epoch, every=every)
    found = np.array([int(n) for n in jax.vmap(lambda epoch: arriving(entry, epoch))(np.arange(80, dtype=np.uint64))])
    times = from_epoch + np.arange(4096) * every // per_epoch
    expected = np.bincount(times[times < from_epoch + long], minlength=80)[:80]
    assert np.array_equal(found, expected)
    capped = dataclasses.replace(entry, count=7)
    some = np.array([int(n) for n in jax.vmap(lambda epoch: arriving(capped, epoch))(np.arange(80, dtype=np.uint64))])
    assert np.array_equal(np.cumsum(some), np.minimum(np.cumsum(found), 7))
    assert found.max() == most_arriving(entry)
    assert found.sum() == -(-per_epoch * long // every)
