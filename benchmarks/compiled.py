"""The net APR in Numba: parallel loops over lanes, compiled to vector instructions, in the precision of the lanes.

The formulas are those of `benchmarks.baselines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from benchmarks.baselines import Columns, Constants, inlined, is_valid, net, steps

# OpenMP's threads keep spinning for milliseconds after a loop and take a core from whatever is timed next: half the
# speed of a sweep on two cores. Numba's own threads sleep, and are faster here too.
numba.config.THREADING_LAYER = "workqueue"  # type: ignore[attr-defined]


@numba.njit(parallel=True, error_model="numpy")
def value(columns, c, out):
    """Net APR of every lane into `out`, one loop over lanes."""
    stake, p, rho, balance, u, mu, sigma, slashed, commission, other = columns
    for i in numba.prange(out.size):
        s, q, r, b, v = stake[i], p[i], rho[i], balance[i], u[i]
        m, d, k, f, o = mu[i], sigma[i], slashed[i], commission[i], other[i]
        y = net(s, q, r, b, v, m, d, k, f, o, c)
        out[i] = y if is_valid(s, q, r, b, v, m, d, k, f, o, c) else c.nan


_plain_net, _plain_is_valid = numba.njit(net), numba.njit(is_valid)


@numba.njit(parallel=True)
def plain_value(columns, c, out):
    """The same as one usually writes it, with helper functions that are compiled apart and Numba's defaults."""
    stake, p, rho, balance, u, mu, sigma, slashed, commission, other = columns
    for i in numba.prange(out.size):
        lane = stake[i], p[i], rho[i], balance[i], u[i], mu[i], sigma[i], slashed[i], commission[i], other[i]
        out[i] = _plain_net(*lane, c) if _plain_is_valid(*lane, c) else c.nan


@inlined
def _moved(x, step, moves):
    return x + step if moves else x


@inlined
def _net_near(s, q, r, b, v, m, d, k, f, o, h, n, c):
    """Net APR with the leaves that `n` marks moved by `h`."""
    s, q, r, b, v = _moved(s, h, n[0]), _moved(q, h, n[1]), _moved(r, h, n[2]), _moved(b, h, n[3]), _moved(v, h, n[4])
    m, d, k, f, o = _moved(m, h, n[5]), _moved(d, h, n[6]), _moved(k, h, n[7]), _moved(f, h, n[8]), _moved(o, h, n[9])
    return net(s, q, r, b, v, m, d, k, f, o, c)


def _slope_kernel(leaf: int) -> Any:
    """Central difference in one leaf. A kernel for each, so that the compiler drops what does not depend on it.

    Eleven loops, one per output, take two thirds of the time of one loop that fills all: they become vector code.
    """
    n = tuple(leaf == column for column in range(10))

    @numba.njit(parallel=True, error_model="numpy")
    def kernel(columns, c, h, out):
        stake, p, rho, balance, u, mu, sigma, slashed, commission, other = columns
        scale = c.half / h
        for i in numba.prange(out.size):
            s, q, r, b, v = stake[i], p[i], rho[i], balance[i], u[i]
            m, d, k, f, o = mu[i], sigma[i], slashed[i], commission[i], other[i]
            high = _net_near(s, q, r, b, v, m, d, k, f, o, h, n, c)
            low = _net_near(s, q, r, b, v, m, d, k, f, o, -h, n, c)
            out[i] = (high - low) * scale if is_valid(s, q, r, b, v, m, d, k, f, o, c) else c.nan

    return kernel


_SLOPES = [_slope_kernel(leaf) for leaf in range(10)]


def value_and_gradient(columns: Columns, c: Constants, out: Sequence[np.ndarray]) -> None:
    """Net APR and its ten slopes in every lane, into eleven arrays."""
    value(tuple(columns), c, out[0])
    for kernel, step, column in zip(_SLOPES, steps(out[0].dtype.type), out[1:], strict=True):
        kernel(tuple(columns), c, step, column)


@numba.njit(parallel=True, error_model="numpy")
def _valid_sums(outputs, sums):
    """Sum of each output over the lanes that are not NaN, and last their number, part by part of the lanes."""
    parts, lanes = sums.shape[1], outputs[0].size
    size = (lanes + parts - 1) // parts
    for part in numba.prange(parts):
        first, last = part * size, min((part + 1) * size, lanes)
        for row in range(len(outputs)):
            total = 0.0
            for i in range(first, last):
                total += 0.0 if np.isnan(outputs[row][i]) else outputs[row][i]
            sums[row, part] = total
        count = 0.0
        for i in range(first, last):
            count += 0.0 if np.isnan(outputs[0][i]) else 1.0
        sums[-1, part] = count


def means(columns: Columns, c: Constants, out: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over the valid lanes of the net APR, and of its ten slopes if `out` is eleven arrays and not one.

    `out` holds `out[0].size` lanes at a time.
    """
    total, block = np.zeros(len(out) + 1), out[0].size
    for start in range(0, columns[0].size, block):
        x = tuple(column[start : start + block] for column in columns)
        y = tuple(column[: x[0].size] for column in out)
        if len(out) == 1:
            value(x, c, y[0])
        else:
            value_and_gradient(x, c, y)
        sums = np.empty((len(out) + 1, 64))
        _valid_sums(y, sums)
        total += sums.sum(axis=1)
    return total[:-1] / total[-1]
