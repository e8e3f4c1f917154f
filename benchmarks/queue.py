"""Workload: a withdrawal queue's priority: a million requests over a year, and many weight vectors on one workload.

All by one rule (1,024 classes, first in, first out inside a class): this package and NumPy by windows of cumulative
sums, class by class; Numba epoch by epoch with a heap of classes, which stops where a class has no backlog.
"""

from __future__ import annotations

import functools
import heapq
from typing import Any

import jax
import jax.numpy as jnp
import numba
import numpy as np

from benchmarks.setting import Setting
from benchmarks.timing import Task
from jaxstake.microstaking import withdrawal_classes, withdrawal_objective, withdrawal_sample
from jaxstake.microstaking.withdrawals import Priority

EPOCHS, LARGEST_BONUS, REQUESTS, VECTORS = 365 * 225, 30 * 225, 1_000_000, 1_000
FULL_RUN = 1 << 22
"""Lanes of a run that measures the sizes above."""


def tasks(setting: Setting) -> list[Task]:
    """Waits of every request, and the objective of many weight vectors."""
    full = setting.lanes >= FULL_RUN
    return [*_waits(REQUESTS if full else 50_000), *_objectives(VECTORS if full else 50)]


# --- Waits of every request -----------------------------------------------------------------------------------------


def _waits(count: int) -> list[Task]:
    random = np.random.default_rng(0)
    arrivals = np.sort(random.integers(0, EPOCHS, count))
    amounts = (random.lognormal(1.0, 1.5, count) * 1e9).astype(np.int64)
    virtual = arrivals - random.uniform(0.0, LARGEST_BONUS, count)
    churn = int(amounts.sum() / EPOCHS)
    width = withdrawal_classes.class_width(epochs=EPOCHS, largest_bonus=LARGEST_BONUS)
    classes = withdrawal_classes.CLASSES
    function = jax.jit(
        functools.partial(withdrawal_classes.class_finish, epochs=EPOCHS, largest_bonus=LARGEST_BONUS, classes=classes)
    )
    kept: list[Any] = []

    def ours(_: int) -> Any:
        with jax.enable_x64(True):
            if not kept:
                names = ("amounts_gwei", "arrivals", "virtual_arrivals", "churn_gwei")
                values = (amounts, arrivals, virtual, churn)
                kept.append({name: jnp.asarray(value) for name, value in zip(names, values, strict=True)})
            return jax.block_until_ready(function(**kept[0]))

    def theirs(_: int) -> Any:
        return numpy_finish(amounts, arrivals, virtual, churn, width, classes)

    def compiled(_: int) -> Any:
        groups = np.floor((virtual + LARGEST_BONUS) / width).astype(np.int64)
        return numba_finish(amounts, arrivals, groups, churn, classes)

    work = f"priority queue, {count:,} requests over a year"
    return [
        Task(work, "jaxstake", count, 0, ours),
        Task(work, "NumPy, the same windows", count, 0, theirs),
        Task(work, "Numba, a heap", count, 0, compiled),
    ]


def numpy_finish(amounts: Any, arrivals: Any, virtual: Any, churn: int, width: int, classes: int) -> np.ndarray:
    """Class by class, each in its window of epochs."""
    groups = np.floor((virtual + LARGEST_BONUS) / width).astype(np.int64)
    length = width + LARGEST_BONUS
    total = np.zeros((classes - 1) * width + length, np.int64)
    np.add.at(total, arrivals + LARGEST_BONUS, amounts)
    free = np.cumsum(churn - total)
    backlog = np.maximum(np.maximum.accumulate(free), 0) - free
    order = np.argsort(groups, kind="stable")
    ends = np.searchsorted(groups[order], np.arange(classes + 1))
    earlier, finish = np.zeros(length, np.int64), np.empty(amounts.size, np.int64)
    for group in range(classes):
        members = order[ends[group] : ends[group + 1]]
        start = group * width
        mine = np.zeros(length, np.int64)
        np.add.at(mine, arrivals[members] + LARGEST_BONUS - start, amounts[members])
        free = np.cumsum(churn - earlier) - (backlog[start - 1] if start else 0)
        left = np.maximum(np.maximum.accumulate(free), 0)
        served = left - np.maximum(np.maximum.accumulate(left - np.cumsum(mine)), 0)
        place = np.cumsum(amounts[members])
        inside = np.searchsorted(served, place)
        rest = left[-1] - free[-1] + place - served[-1]
        after = length - 1 - (-rest // churn)
        finish[members] = np.where(inside < length, inside, after) + start - LARGEST_BONUS
        earlier = np.concatenate([(earlier + mine)[width:], np.zeros(width, np.int64)])
    return finish


@numba.njit(cache=False)
def numba_finish(amounts: Any, arrivals: Any, groups: Any, churn: int, classes: int) -> Any:
    """Epoch by epoch: the first request of the best class that waits, from lists linked through the requests."""
    count = amounts.size
    first, last = np.full(classes, -1), np.full(classes, -1)
    following, left, finish = np.full(count, -1), amounts.copy(), np.zeros(count, np.int64)
    heap = [np.int64(0) for _ in range(0)]
    place, time = 0, 0
    while place < count or len(heap) > 0:
        if len(heap) == 0 and arrivals[place] > time:
            time = arrivals[place]
        while place < count and arrivals[place] == time:
            group = groups[place]
            if first[group] < 0:
                first[group] = place
                heapq.heappush(heap, group)
            else:
                following[last[group]] = place
            last[group] = place
            place += 1
        room = churn
        while len(heap) > 0:
            group = heap[0]
            head = first[group]
            if left[head] > room:
                left[head] -= room
                break
            room -= left[head]
            finish[head] = time
            first[group] = following[head]
            if first[group] < 0:
                heapq.heappop(heap)
        time += 1
    return finish


# --- Many weight vectors --------------------------------------------------------------------------------------------


def _objectives(count: int) -> list[Task]:
    epochs = 120 * 225
    requests = withdrawal_sample.sample(withdrawal_sample.Demand(), key=jax.random.key(0), count=20_000, epochs=epochs)
    churn = withdrawal_sample.churn_for(requests, epochs=epochs, utilisation=0.9)
    load = withdrawal_objective.workload(requests, churn=churn, epochs=epochs, period=225, lags=32)
    work, sizes = np.asarray(load.work, np.float32), np.asarray(load.owner_total, np.float32)
    number = np.asarray(load.count, np.float32)
    weights = np.linspace(0.0, LARGEST_BONUS, count, dtype=np.float32)
    given = jnp.asarray(weights)
    # batches that stay in cache
    function = jax.jit(
        lambda a: jax.lax.map(lambda x: _mean(Priority(smallness=x), load), a, batch_size=min(50, count))
    )
    title = f"smooth mean wait, {count:,} weight vectors"
    return [
        Task(title, "jaxstake, mapped", count, 0, lambda _: jax.block_until_ready(function(given))),
        Task(title, "NumPy, a loop", count, 0, lambda _: [numpy_mean(w, work, number, sizes, 32) for w in weights]),
    ]


def _mean(priority: Priority, load: Any) -> Any:
    waits = withdrawal_objective.expected_waits(priority, load)
    return jnp.sum(waits * load.count) / jnp.sum(load.count)


def numpy_mean(weight: Any, work: Any, count: Any, sizes: Any, lags: int) -> Any:
    """The smooth mean wait, as `withdrawal_objective` has it, in single precision."""
    smear, soft = np.float32(withdrawal_objective.SMEAR), np.float32(withdrawal_objective.SOFTNESS)
    lag = np.arange(lags)
    ahead = weight * np.float32(32) / (np.float32(32) + sizes) / np.float32(225)
    with np.errstate(over="ignore"):
        older = 1 / (1 + np.exp(-(ahead[None] - lag[:, None].astype(np.float32) + np.float32(0.5)) / smear))
    older[0] = 1
    chance = older - np.concatenate([older[1:], np.zeros_like(older[:1])])
    padded = np.pad(work, ((lags, lags), (0, 0)))
    classes = np.arange(work.shape[0] + lags)
    arriving = (padded @ older.T)[classes[None] + lag[:, None], lag[:, None]]
    total, before = padded.sum(1), np.float32(0)
    whole = np.zeros(total.size + 1, np.float32)
    for period in range(total.size):
        before = soft * np.logaddexp(np.float32(0), (before + total[period] - 1) / soft)
        whole[period + 1] = before
    queue, through = whole[classes], np.empty_like(arriving)
    for step in range(lags):
        queue = soft * np.logaddexp(np.float32(0), (queue + arriving[step] - 1) / soft)
        through[step] = queue
    each = np.empty_like(arriving)
    each[-1] = queue
    for step in range(lags - 2, -1, -1):
        each[step] = -np.expm1(-through[step] / soft) * (1 + each[step + 1])
    arrival = lags + np.arange(work.shape[0])
    waits = each[lag[None], arrival[:, None] - lag[None]] @ chance
    return np.sum(waits * count) / np.sum(count)
