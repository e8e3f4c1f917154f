"""Runs: how often one operator proposes several blocks in a row.

The proposer of every slot is drawn by effective balance, independently of the others, so an operator with share p of
the stake proposes each slot with probability p. The proposers of an epoch are known before it starts, and a run of
slots is worth more than its blocks one by one: nobody can answer in between.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.core.checks import require, require_domain
from jaxstake.core.domain import FRACTION, Domain
from jaxstake.core.numerics import as_float
from jaxstake.core.solve import solve_bracketed
from jaxstake.core.typing import Scalar
from jaxstake.protocol.forks import Fork, slots_per_year


def chance_of_run(*, share: Scalar, run_length: int, slots: int = 32) -> jax.Array:
    """Chance that an operator proposes at least k slots in a row within n slots, exactly.

    Equation, with p the share and `F_m` the chance within the first m slots: `F_m = 0` for m < k, `F_k = p^k`, then
    `F_m = F_(m-1) + (1 - p) p^k (1 - F_(m-k-1))`: the first such run ends at slot m if it starts after a slot of
    somebody else's and there was none before that. A sum of positive terms, so that small chances keep their digits.

    Args:
        share: share of the stake p, in [0, 1].
        run_length: number of slots in a row k, >= 1; static.
        slots: number of slots n, >= 1; static. 32 is an epoch of mainnet. Takes n steps.

    Returns:
        The probability; 0 if k > n.

    Raises:
        ValueError: share is concrete and out of range, or run_length or slots is less than 1.

    Source: W. Feller, An Introduction to Probability Theory and Its Applications I (3rd edition), XIII.7; independent
    slots from `compute_proposer_index` (phase 0, Electra).

    Example:
        >>> print(f"{chance_of_run(share=0.1, run_length=2):.4%}")
        24.8938%
        >>> print(f"{chance_of_run(share=0.5, run_length=2, slots=3):.3f}")  # 3 of 8: 110, 011, 111
        0.375
    """
    _require_counts(run_length, slots)
    share = as_float(require_domain("share", share, FRACTION))
    if run_length > slots:
        return 0.0 * share
    return _chances(share, (run_length,), slots)[0]


def longest_run_distribution(*, share: Scalar, slots: int = 32) -> jax.Array:
    """Probabilities that the longest run of own slots within n slots is 0, 1, ..., n long.

    Equation: `P(L = 0) = (1 - p)^n` and `P(L = k) = F(k) - F(k + 1)` with `F(k)` as in `chance_of_run`.

    Args:
        share: share of the stake p, in [0, 1].
        slots: number of slots n, >= 1; static. Takes n steps on arrays of n^2 numbers.

    Returns:
        [n + 1] probabilities, each to the rounding of the chances of which it is the difference.

    Raises:
        ValueError: share is concrete and out of range, or slots is less than 1.

    Source: as `chance_of_run`.

    Example:
        >>> [round(float(x), 4) for x in longest_run_distribution(share=0.5, slots=3)]
        [0.125, 0.5, 0.25, 0.125]
    """
    _require_counts(1, slots)
    share = as_float(require_domain("share", share, FRACTION))
    reached = _chances(share, tuple(range(1, slots + 1)), slots)
    none = jnp.atleast_1d((1.0 - share) ** slots)
    return jnp.concatenate([none, reached[:-1] - reached[1:], reached[-1:]])


def expected_runs(*, share: Scalar, run_length: int, slots: Scalar = 32.0) -> Scalar:
    """Expected number of runs of at least k own slots within n slots; a longer run counts once.

    Equation: `p^k (1 + (n - k) (1 - p))`: a run starts at the first slot, or after a slot of somebody else's at one of
    the n - k others that leave room for it. At least the chance of a run, and close to it where runs are rare.

    Args:
        share: share of the stake p, in [0, 1].
        run_length: number of slots in a row k, >= 1; static.
        slots: number of slots n, >= k; 32 is an epoch of mainnet.

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> print(f"{expected_runs(share=0.3, run_length=2):.2f} runs")
        1.98 runs
    """
    _require_counts(run_length, 1)
    share = as_float(require_domain("share", share, FRACTION))
    slots = require_domain("slots", slots, Domain(float(run_length)))
    return share**run_length * (1.0 + (slots - run_length) * (1.0 - share))


def epochs_with_run_per_year(fork: Fork, *, share: Scalar, run_length: int, slots: int = 32) -> Scalar:
    """Expected number of epochs a year in which an operator proposes at least k slots in a row.

    Equation: `chance_of_run * slots_per_year / n`. Runs across the end of an epoch are not counted.

    Args:
        fork: constants.
        share: share of the stake p, in [0, 1].
        run_length: number of slots in a row k, >= 1; static.
        slots: slots per epoch n, >= 1; static, as it sets the number of steps.

    Raises:
        ValueError: share is concrete and out of range, or run_length or slots is less than 1.

    Example:
        >>> from jaxstake.protocol import forks
        >>> print(f"{epochs_with_run_per_year(forks.get('fulu'), share=0.01, run_length=3):.2f}")
        2.44
    """
    return chance_of_run(share=share, run_length=run_length, slots=slots) * slots_per_year(fork) / slots


def feller_chance_of_run(*, share: Scalar, run_length: int, slots: int = 32) -> jax.Array:
    """Feller's estimate of the chance of at least k slots in a row within n slots.

    Equation: `1 - (1 - p x) / ((k + 1 - k x) q) / x^(n+1)` with q = 1 - p and x the root next above 1 of
    `1 - x + q p^k x^(k+1) = 0`. Solved in x - 1, and evaluated by logarithms, so that small chances keep their digits.

    Feller neglects the other roots, whose powers vanish quickly. Over 32 slots the estimate is the exact law to 1e-14
    for p up to 0.4 and k up to 5. It is worst where there is hardly room for a run: at n = k it is off by up to 5 % of
    `p^k` for p up to 0.4, and by 12 % at p = 0.66.

    Args:
        share: share of the stake p, in [0, k / (k + 1)): there the root that is wanted meets 1/p, which is none.
        run_length: number of slots in a row k, >= 1; static.
        slots: number of slots n, >= 1; static.

    Raises:
        ValueError: share is concrete and out of range, or run_length or slots is less than 1.

    Source: W. Feller, An Introduction to Probability Theory and Its Applications I (3rd edition), XIII.7, (7.11);
    A. Revuelta, "Multi-block MEV in Ethereum", who applies it to an epoch.

    Example:
        >>> print(f"{feller_chance_of_run(share=0.3, run_length=3):.4%}")
        45.9332%
    """
    _require_counts(run_length, slots)
    largest = run_length / (run_length + 1)
    share = as_float(require_domain("share", share, Domain(0.0, largest, open_high=True)))
    other = 1.0 - share
    start = other * share**run_length
    # At x = (k + 1) / k the polynomial is never positive, at 1 never negative; 1/p lies above.
    excess = solve_bracketed(
        lambda y: start * (1.0 + y) ** (run_length + 1) - y, low=jnp.zeros_like(share), high=1.0 / run_length
    ).value
    ratio = jnp.log1p(-excess * share / other) - jnp.log1p(-run_length * excess)
    return -jnp.expm1(ratio - (slots + 1) * jnp.log1p(excess))


def _chances(share: jax.Array, lengths: tuple[int, ...], slots: int) -> jax.Array:
    """The recursion of `chance_of_run` for several lengths at once, none above `slots`."""
    wanted, column = np.asarray(lengths), np.arange(len(lengths))
    powers = jnp.stack([share**length for length in lengths])
    later = (1.0 - share) * powers

    def slot(window: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
        """Row j of the window is the chance within `number - 1 - j` slots."""
        gain = jnp.where(number > wanted, later * (1.0 - window[wanted, column]), 0.0)
        gain = jnp.where(number == wanted, powers, gain)
        return jnp.concatenate([(window[0] + gain)[None], window[:-1]]), None

    start = jnp.zeros((max(lengths) + 1, len(lengths)), share.dtype)
    return jax.lax.scan(slot, start, jnp.arange(1, slots + 1))[0][0]


def _require_counts(run_length: int, slots: int) -> None:
    for name, count in (("run_length", run_length), ("slots", slots)):
        require(count >= 1, f"{name} must be at least 1, got {{count}}", count=count)
