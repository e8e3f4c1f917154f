"""RANDAO: the running random number of the chain, into which every block mixes its proposer's reveal.

A reveal is the proposer's signature of the epoch number: nobody else can predict it and the proposer cannot choose it,
only withhold it with the block. The validator that proposes twice in one epoch reveals the same twice, and so cancels
its own first reveal.
"""

from __future__ import annotations

import jax
import numpy as np

from jaxstake.core.sha256 import Bytes, require_bytes, sha256


def randao_mix(mix: Bytes, *, reveal: Bytes) -> jax.Array:
    """The mix after one block.

    Equation: `mix XOR SHA-256(reveal)`.

    Args:
        mix: mix before the block, uint8 [32].
        reveal: the proposer's reveal, uint8 [L]; a BLS signature of 96 bytes in the protocol, any length here.

    Returns:
        uint8 [32].

    Raises:
        TypeError: an argument is no array of uint8.
        ValueError: an argument has another shape.

    Source: `process_randao` (phase 0), without the check of the signature.

    Example:
        >>> zero = np.zeros(32, np.uint8)
        >>> bytes(randao_mix(zero, reveal=np.zeros(96, np.uint8))).hex()[:16]
        '2ea9ab9198d16380'
    """
    mix = require_bytes("mix", mix, shape=(32,))
    return mix ^ sha256(require_bytes("reveal", reveal, shape=("L",)))


def mix_all(mix: Bytes, *, reveals: Bytes) -> jax.Array:
    """The mix after a number of blocks, whose order does not matter.

    Equation: `mix XOR SHA-256(reveal_1) XOR ... XOR SHA-256(reveal_N)`.

    Args:
        mix: mix before the blocks, uint8 [32].
        reveals: one reveal per block that has appeared, uint8 [N, L], N >= 0.

    Returns:
        uint8 [32].

    Raises:
        TypeError: an argument is no array of uint8.
        ValueError: an argument has another shape.

    Source: `process_randao` (phase 0), once per block.

    Example:
        >>> zero = np.zeros(32, np.uint8)
        >>> bool((mix_all(zero, reveals=np.ones((2, 96), np.uint8)) == zero).all())
        True
    """
    mix = require_bytes("mix", mix, shape=(32,))
    digests = jax.vmap(sha256)(require_bytes("reveals", reveals, shape=("N", "L")))
    return mix ^ jax.lax.reduce(digests, np.uint8(0), jax.lax.bitwise_xor, (0,))
