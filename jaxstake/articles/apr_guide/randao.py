"""Chapter 1 of the APR guide: how the contributions of the validators become one random number."""

from __future__ import annotations

import jax
import numpy as np

from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.sha256 import Bytes, require_bytes, sha256


@pytree
class RandaoEntropy:
    """The two results of the document's RANDAO."""

    exclusive_or: jax.Array = leaf(meaning="XOR of the contributions, uint8 [32], big-endian")
    digest: jax.Array = leaf(meaning="SHA-256 of it, uint8 [32]")


def randao_entropy(*, contributions: Bytes) -> RandaoEntropy:
    """Random number out of the numbers that the validators contribute.

    Printed: `RANDAO(S_0, r_1, ..., r_n) = SHA256(r_1 XOR r_2 XOR ... XOR r_n)`; the starting seed `S_0` is named and
        not used. With it the claim that the output is uniformly random if at least one validator is honest.

    Args:
        contributions: numbers `r_i` of 256 bits as big-endian bytes, uint8 [N, 32]
            (`jaxstake.core.sha256.from_integer`); for N = 0 the XOR is 0, as in the document's loop.

    Returns:
        The XOR and its digest, uint8 [32] each.

    Raises:
        TypeError: the contributions are no array of uint8.
        ValueError: they have another shape.

    Outside: The document's numbers have no limit, but its `to_bytes` raises if the XOR is negative or has 257 bits or
        more. Here the type excludes such contributions.

    Protocol: Each reveal is hashed before the XOR, and S_0 counts: `mix XOR SHA-256(reveal)`
        (`jaxstake.protocol.randao.randao_mix`); the mix is hashed again only with the duty and the epoch, for a seed.
        Hashed only after the XOR, as printed, contributions cancel one another and the last contributor, who knows the
        others, sets the XOR to any number it likes. One honest validator then suffices only if it is last, or if all
        commit to their numbers first. In the protocol a reveal is the proposer's BLS signature of the epoch, which it
        cannot choose, only withhold with its block: whoever holds the last slots of an epoch has one bit of influence
        for each.

    Source: APR guide, section 1.2, definition 2, `randao_entropy`.

    Example:
        >>> from jaxstake.core.sha256 import from_integer, to_hex
        >>> numbers = 0x1234567890ABCDEF, 0xFEDCBA0987654321, 0x1111111111111111, 0x2222222222222222
        >>> result = randao_entropy(contributions=np.stack([from_integer(number) for number in numbers]))
        >>> to_hex(result.exclusive_or[-8:]), to_hex(result.digest[:8])
        ('dfdbdf4224fdbdfd', '95431b66b681d387')
    """
    contributions = require_bytes("contributions", contributions, shape=("N", 32))
    exclusive_or = jax.lax.reduce(contributions, np.uint8(0), jax.lax.bitwise_xor, (0,))
    return RandaoEntropy(exclusive_or=exclusive_or, digest=sha256(exclusive_or))
