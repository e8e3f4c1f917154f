"""The withdrawal queue with a heap, request by request in plain integers: an oracle for every faster form."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the requests; -1 is a request that was never finished."""

    served: list[int]
    waiting: list[int]
    cancelled: list[int]
    finish: list[int]
    waited: list[int]


def serve(
    amounts: Sequence[int],
    arrivals: Sequence[int],
    keys: Sequence[float],
    churn: int | Sequence[int],
    *,
    epochs: int | None = None,
    cancelled_at: Sequence[int] | None = None,
) -> Outcome:
    """Serve in the order of (key, position), an epoch at a time, until the end or until nothing waits.

    A request can be served in its epoch of arrival, and is cancelled before the service of the given epoch.
    """
    count = len(amounts)
    left, served, cancelled = [0] * count, [0] * count, [0] * count
    finish, waited = [-1] * count, [0] * count
    heap: list[tuple[float, int]] = []
    by_arrival = sorted(range(count), key=lambda i: arrivals[i])
    nxt, time = 0, 0
    while (time < epochs) if epochs is not None else (nxt < count or heap):
        while nxt < count and arrivals[by_arrival[nxt]] <= time:
            i = by_arrival[nxt]
            left[i] = amounts[i]
            heapq.heappush(heap, (keys[i], i))
            nxt += 1
        if cancelled_at is not None:
            for i in range(count):
                if cancelled_at[i] == time and arrivals[i] <= time:
                    cancelled[i], left[i] = left[i], 0
            heap = [entry for entry in heap if left[entry[1]] > 0 or cancelled_at[entry[1]] != time]
            heapq.heapify(heap)
        room = churn if isinstance(churn, int) else churn[min(time, len(churn) - 1)]
        while heap and (room > 0 or left[heap[0][1]] == 0):
            _, i = heap[0]
            paid = min(room, left[i])
            room -= paid
            left[i] -= paid
            served[i] += paid
            if left[i] > 0:
                break
            finish[i] = time
            heapq.heappop(heap)
        for _, i in heap:
            waited[i] += left[i]
        time += 1
    waiting = [amounts[i] - served[i] - cancelled[i] for i in range(count)]
    return Outcome(served=served, waiting=waiting, cancelled=cancelled, finish=finish, waited=waited)
