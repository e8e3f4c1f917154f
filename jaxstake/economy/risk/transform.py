"""Mass of a compound binomial on a lattice, by the fast Fourier transform of its generating function."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.economy.risk.income import IncomeLaw
from jaxstake.economy.risk.keep import kept, stored
from jaxstake.economy.risk.lattice import Lattice, cell_survival, missing_mean

ROW = 1 << 8
"""Frequencies in a row. Roots of unity are products of a table of rows and one within a row, instead of sines."""

TERMS = 12
"""Terms of the arctangent's series after its argument was halved three times: at most tan(pi/16)."""


def tilt(dtype: Any) -> float:
    """Nats by which the mass is damped over the length of the lattice, so that what lies beyond hardly comes round.

    Undoing it enlarges rounding as much, so single precision bears less.
    """
    return 12.0 if dtype == jnp.float64 else 4.0


def compound_mass(law: IncomeLaw, lattice: Lattice, *, points: int) -> jax.Array:
    """[points] mass of the income less what is steady at `(first + j) h`, payments and seats split between points.

    Equation: with r on the circle `exp(-tilt / points - 2 pi i k / points)` the generating functions are `phi(r) - 1 =
    (r - 1) sum_j G_j r^j` for a payment that exceeds `j h` with chance `G_j`, which does not cancel, and `(1 + p (phi -
    1))^n` for the sum. A payment beyond the lattice is left out, so its mass is missing and not misplaced.
    """
    slope = tilt(lattice.step_eth.dtype) / points
    place = jnp.arange(points).astype(lattice.step_eth.dtype)
    exceed = cell_survival(law, points=points, step_eth=lattice.step_eth)
    inner = jnp.where(jnp.arange(points) == points - 1, 0.0, exceed) * jnp.exp(-slope * place)
    lost = kept(exceed[-1]) * math.exp(-slope * (points - 1))
    moved = missing_mean(law, exceed, step_eth=lattice.step_eth)
    whole = _total(law, lattice, jnp.fft.rfft(inner), (lost, moved), points=points)
    return jnp.fft.irfft(whole, n=points) * jnp.exp(slope * place)


def _total(law: IncomeLaw, lattice: Lattice, spectrum: jax.Array, given: Any, *, points: int) -> jax.Array:
    """[points / 2 + 1] generating function of the sum, from that of the chances that a payment exceeds.

    Given are the damped chance of a payment beyond the lattice, and the steps by which to move each payment. The last
    frequency, of which there is one more than rows hold, is worked out by itself.
    """
    turn, whole, back = _roots(law, lattice, points=points)
    rows, row = turn[0].shape
    inner = spectrum[: rows * row].reshape(rows, row)
    size, angle = _exponent(law, lattice, (inner.real, inner.imag), (turn, whole, back), given, points=points)
    size, angle = stored(size), stored(angle)
    factor = jnp.exp(size)
    most = jax.lax.complex(factor * jnp.cos(angle), factor * jnp.sin(angle)).reshape(-1)
    return jnp.concatenate([most, _last(law, lattice, spectrum[rows * row :], given, points=points)])


def _roots(law: IncomeLaw, lattice: Lattice, *, points: int) -> tuple[Any, Any, jax.Array]:
    """Roots of unity [rows, row] to the powers of one step and of a seat, and the angle by which the start turns.

    They are products of a table over rows and one within a row, which spares most of the sines.
    """
    dtype = lattice.step_eth.dtype
    row = min(ROW, points // 2)
    rows = points // 2 // row
    below = jnp.nan_to_num(_whole_steps(law, lattice)).astype(jnp.int32)
    pairs = [
        _times([part[:, None] for part in coarse], [part[None] for part in fine])
        for power in (1, below)
        for coarse in (_circle(np.arange(rows) * row, power, points=points, dtype=dtype),)
        for fine in (_circle(np.arange(row), power, points=points, dtype=dtype),)
    ]
    return pairs[0], pairs[1], _angles(np.arange(rows * row).reshape(rows, row), lattice, points=points)


def _last(law: IncomeLaw, lattice: Lattice, value: jax.Array, given: Any, *, points: int) -> jax.Array:
    """The generating function [1] at half the circle, r < 0, where a damped one is real."""
    dtype = lattice.step_eth.dtype
    below = jnp.nan_to_num(_whole_steps(law, lattice)).astype(jnp.int32)
    turn, whole = (_circle(np.array([points // 2]), power, points=points, dtype=dtype) for power in (1, below))
    back = _angles(np.array([points // 2]), lattice, points=points)
    size, angle = _exponent(law, lattice, (value.real, value.imag), (turn, whole, back), given, points=points)
    return jax.lax.complex(jnp.exp(size) * jnp.cos(angle), jnp.exp(size) * jnp.sin(angle))


def _exponent(
    law: IncomeLaw, lattice: Lattice, values: Any, roots: Any, given: Any, *, points: int
) -> tuple[jax.Array, jax.Array]:
    """Logarithm of the generating function of the sum: of its size, and its angle."""
    dtype, slope = lattice.step_eth.dtype, tilt(lattice.step_eth.dtype) / points
    turn, whole, back = roots
    lost, moved = given
    below, seat = _whole_steps(law, lattice), law.seat_eth / lattice.step_eth
    size, share = kept(jnp.exp(-slope * below)), kept(seat - below)
    step = _less_one(turn, slope=slope)
    paid = _times(step, values)
    paid = paid[0] - lost * turn[0], paid[1] + lost * turn[1]  # r^(points - 1) turns backwards
    if dtype != jnp.float64:
        paid = _moved(paid, step, moved, slope=slope)
    proposals = _log_one_plus(law.proposal_chance * paid[0], law.proposal_chance * paid[1])
    # A seat is split between the points on both sides of it.
    whole = size * whole[0], size * whole[1]
    more = _times(whole, (share * step[0], share * step[1]))
    seated = whole[0] - 1.0 + more[0], whole[1] + more[1]
    seats = _log_one_plus(law.seat_chance * seated[0], law.seat_chance * seated[1])
    total = law.slots * proposals[0] + law.seat_trials * seats[0] + kept(slope * lattice.first)
    return total, law.slots * proposals[1] + law.seat_trials * seats[1] + back


def _whole_steps(law: IncomeLaw, lattice: Lattice) -> jax.Array:
    """Steps of the lattice in the income of one seat, rounded down."""
    return jax.lax.stop_gradient(jnp.floor(law.seat_eth / lattice.step_eth))


def _angles(frequencies: np.ndarray, lattice: Lattice, *, points: int) -> jax.Array:
    """`2 pi k first / points`; integers wrap at 2^32, a multiple of `points`, so the angle is exact."""
    first = jnp.nan_to_num(lattice.first).astype(jnp.int32)
    turns = jnp.bitwise_and(jnp.asarray(frequencies, jnp.int32) * first, points - 1)
    return turns.astype(lattice.step_eth.dtype) * (2.0 * math.pi / points)


def _circle(factors: np.ndarray, power: jax.Array | int, *, points: int, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """`exp(-2 pi i power factor / points)`; integers wrap at 2^32, a multiple of `points`, so the angle is exact."""
    if isinstance(power, int):
        angle = factors * power % points * (2.0 * math.pi / points)
        return jnp.asarray(np.cos(angle), dtype), jnp.asarray(-np.sin(angle), dtype)
    turns = jnp.bitwise_and(jnp.asarray(factors, jnp.int32) * power, points - 1)
    angle = turns.astype(dtype) * (2.0 * math.pi / points)
    return kept(jnp.cos(angle)), kept(-jnp.sin(angle))


def _less_one(turn: Any, *, slope: float) -> tuple[jax.Array, jax.Array]:
    """`r - 1` on the damped circle, without cancellation near 1: `1 - cos w = sin^2 w / (1 + cos w)`."""
    near = turn[0] > -0.5
    gap = jnp.where(near, turn[1] ** 2 / (1.0 + jnp.where(near, turn[0], 0.0)), 1.0 - turn[0])
    return math.expm1(-slope) - math.exp(-slope) * gap, math.exp(-slope) * turn[1]


def _moved(paid: Any, step: Any, moved: jax.Array, *, slope: float) -> tuple[jax.Array, jax.Array]:
    """`E r^X - 1` of a payment moved by a part of a step up or down, split between two points."""
    inverse = math.exp(2.0 * slope) * (1.0 + step[0]), -math.exp(2.0 * slope) * step[1]
    back = _times(step, inverse)  # 1 - 1 / r
    up = moved >= 0
    extra = moved * jnp.where(up, step[0], back[0]), moved * jnp.where(up, step[1], back[1])
    both = _times(paid, extra)
    return paid[0] + extra[0] + both[0], paid[1] + extra[1] + both[1]


def _times(a: Any, b: Any) -> tuple[jax.Array, jax.Array]:
    """Product of complex numbers given by their parts; XLA's own is slower on a CPU."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _log_one_plus(real: jax.Array, imaginary: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`log(1 + z)` by its parts, accurate for small z."""
    return 0.5 * jnp.log1p(real * (2.0 + real) + imaginary**2), _angle(imaginary, 1.0 + real)


@functools.partial(jax.custom_jvp, nondiff_argnums=())
def _angle(y: jax.Array, x: jax.Array) -> jax.Array:
    """Angle of the point (x, y), for x > 0 in full precision: `arctan2` in operations that a CPU does in parallel."""
    tangent = y / (x + jnp.sqrt(x * x + y * y))
    for _ in range(2):
        tangent = tangent / (1.0 + jnp.sqrt(1.0 + tangent * tangent))
    square = tangent * tangent
    total = jnp.full_like(square, (-1.0) ** TERMS / (2 * TERMS + 1))
    for term in range(TERMS - 1, -1, -1):
        total = total * square + (-1.0) ** term / (2 * term + 1)
    return 8.0 * tangent * total


@_angle.defjvp
def _angle_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (y, x), (dy, dx) = primals, tangents
    return _angle(y, x), (x * dy - y * dx) / (x * x + y * y)
