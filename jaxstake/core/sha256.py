"""SHA-256 of bytes, as a pure function of arrays: it compiles, and maps over a batch, on any device.

Bytes are uint8 arrays whose length is part of their shape. Source of the algorithm: FIPS 180-4, sections 4 to 6.
"""

from __future__ import annotations

import bisect
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

Bytes: TypeAlias = jax.Array | np.ndarray
"""A uint8 array: [L] for one string of bytes."""

Words: TypeAlias = tuple[jax.Array, ...]


def _root_fraction(number: int, degree: int) -> int:
    """First 32 bits of the fractional part of a root, in whole numbers."""
    scaled = number << 32 * degree
    return (bisect.bisect_right(range(2**40), scaled, key=lambda root: root**degree) - 1) % 2**32


_PRIMES = [number for number in range(2, 312) if all(number % divisor for divisor in range(2, number))]
_START = np.array([_root_fraction(prime, 2) for prime in _PRIMES[:8]], np.uint32)
_ROUND_CONSTANTS = np.array([_root_fraction(prime, 3) for prime in _PRIMES], np.uint32).reshape(4, 16)


def sha256(message: Bytes) -> jax.Array:
    """SHA-256 digest of a string of bytes.

    Args:
        message: uint8 [L], any length L >= 0; the caller maps over a batch of equal length.

    Returns:
        uint8 [32], the same bits in every precision and execution mode.

    Raises:
        TypeError: the message is no array of uint8.
        ValueError: it has other than one axis.

    Source: FIPS 180-4, section 6.2.

    Example:
        >>> to_hex(sha256(np.frombuffer(b"abc", np.uint8)))
        'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    """
    blocks = _padded(require_bytes("message", message, shape=("L",)))
    words, _ = jax.lax.scan(_absorb, jnp.asarray(_START), blocks)
    return jnp.stack([words >> 24, words >> 16, words >> 8, words], axis=-1).astype(jnp.uint8).reshape(32)


def from_integer(value: int, *, length: int = 32) -> np.ndarray:
    """Big-endian bytes of a whole number, filled with zeros in front.

    Args:
        value: a Python integer, >= 0 and < 256^length.
        length: number of bytes.

    Returns:
        uint8 [length].

    Raises:
        TypeError: the value is no integer.
        ValueError: it is negative or does not fit.

    Example:
        >>> from_integer(258, length=4)
        array([0, 0, 1, 2], dtype=uint8)
    """
    if not isinstance(value, int):
        raise TypeError(f"value must be an integer, got {type(value).__name__}")
    if not 0 <= value < 256**length:
        raise ValueError(f"value must be in [0, 256^{length}), got {value}")
    return np.frombuffer(value.to_bytes(length, "big"), np.uint8)


def to_hex(octets: Bytes) -> str:
    """Two lower-case hexadecimal digits for each byte of a concrete array.

    Args:
        octets: uint8 [L].

    Raises:
        TypeError: no array of uint8.
        ValueError: other than one axis.

    Example:
        >>> to_hex(from_integer(258, length=4))
        '00000102'
    """
    return np.asarray(require_bytes("octets", octets, shape=("L",))).tobytes().hex()


def require_bytes(name: str, value: Any, *, shape: tuple[str | int, ...]) -> jax.Array:
    """Return the value as a JAX array, if it is a uint8 array of this shape; letters stand for any length.

    Raises:
        TypeError: no array of uint8.
        ValueError: another number of axes, or another length of one.

    Example:
        >>> require_bytes("mix", np.zeros(31, np.uint8), shape=(32,))
        Traceback (most recent call last):
        ...
        ValueError: mix must be uint8 [32], got uint8 [31]
    """
    rule = f"{name} must be uint8 [{', '.join(map(str, shape))}]"
    if not hasattr(value, "dtype"):
        raise TypeError(f"{rule}, got {type(value).__name__}")
    got = f"{value.dtype} {list(value.shape)}"
    if value.dtype != np.uint8:
        raise TypeError(f"{rule}, got {got}")
    fits = [isinstance(wanted, str) or wanted == found for wanted, found in zip(shape, value.shape, strict=False)]
    if len(value.shape) != len(shape) or not all(fits):
        raise ValueError(f"{rule}, got {got}")
    return jnp.asarray(value)


def _padded(message: jax.Array) -> jax.Array:
    """The message, a bit 1, zeros and its length in bits (64 of them), as big-endian words uint32 [blocks, 16]."""
    (length,) = message.shape
    end = b"\x80" + bytes(-(length + 9) % 64) + (8 * length).to_bytes(8, "big")
    octets = jnp.concatenate([message, np.frombuffer(end, np.uint8)]).reshape(-1, 16, 4).astype(jnp.uint32)
    return octets[..., 0] << 24 | octets[..., 1] << 16 | octets[..., 2] << 8 | octets[..., 3]


def _absorb(words: jax.Array, block: jax.Array) -> tuple[jax.Array, None]:
    """The hash value [8] after one more block [16]: 64 rounds, 16 at a time.

    The words of hash and schedule are separate scalars, so that a batch of them stays in registers; all 64 rounds in
    one piece would take long to compile, and one at a time several times longer to run.
    """
    (final, _), _ = jax.lax.scan(_sixteen_rounds, (tuple(words), tuple(block)), jnp.asarray(_ROUND_CONSTANTS))
    return words + jnp.stack(final), None


def _sixteen_rounds(carry: tuple[Words, Words], constants: jax.Array) -> tuple[tuple[Words, Words], None]:
    """Sixteen rounds on the words of the schedule, then the next sixteen words."""
    state, schedule = carry
    for word, constant in zip(schedule, constants, strict=True):
        state = _round(state, word + constant)
    following = list(schedule)
    for i in range(16):
        early, late = following[(i + 1) % 16], following[(i + 14) % 16]
        spread_early = _rotate(early, 7) ^ _rotate(early, 18) ^ (early >> 3)
        spread_late = _rotate(late, 17) ^ _rotate(late, 19) ^ (late >> 10)
        following[i] = following[i] + spread_early + following[(i + 9) % 16] + spread_late
    return (state, tuple(following)), None


def _round(state: Words, added: jax.Array) -> Words:
    """One round, in the letters of FIPS 180-4, section 6.2.2, step 3; `added` is `K_t + W_t`."""
    a, b, c, d, e, f, g, h = state
    choice = (e & f) ^ (~e & g)
    majority = (a & b) ^ (a & c) ^ (b & c)
    first = h + (_rotate(e, 6) ^ _rotate(e, 11) ^ _rotate(e, 25)) + choice + added
    second = (_rotate(a, 2) ^ _rotate(a, 13) ^ _rotate(a, 22)) + majority
    return first + second, a, b, c, d + first, e, f, g


def _rotate(word: jax.Array, bits: int) -> jax.Array:
    """The 32 bits of a word, moved right in a circle."""
    return (word >> bits) | (word << (32 - bits))
