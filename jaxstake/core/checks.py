"""Checks that raise on concrete bad values, poison traced ones with NaN, and can be turned on in full.

A model runs in three settings. Called with concrete numbers, a bad one is a `ValueError` that names
the argument, the rule and the value. Traced (in `jit`, `vmap` or `grad`), values are unknown, so a
bad lane becomes NaN in value and gradient alike, never a plausible number. Under `checked`, traced
checks are carried along and the first failure is raised: the setting for debugging.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.experimental import checkify

from jaxstake.core import leaves
from jaxstake.core.domain import Domain
from jaxstake.core.typing import Scalar

_carry_checks: contextvars.ContextVar[bool] = contextvars.ContextVar("carry_checks", default=False)
_established: contextvars.ContextVar[bool] = contextvars.ContextVar("established", default=False)


def is_traced(*values: Any) -> bool:
    """Whether any leaf of the values is a JAX tracer, so that its number is unknown now."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def require(ok: jax.Array | bool, message: str, **values: Scalar) -> Scalar:
    """Require a condition; return a factor that is 1 where it holds and NaN where it does not.

    Args:
        ok: the condition, element by element.
        message: the rule; `{name}` is replaced by the value of that name.
        values: the numbers that the message quotes.

    Returns:
        1.0 if the condition is concrete and holds; else an array of 1 and NaN by which the caller
        multiplies its result. Multiplying, not selecting, makes the gradient NaN as well.

    Raises:
        ValueError: the condition is concrete and fails somewhere (also under an eager `grad`, where it is known).

    Example:
        >>> require(2 > 1, "two exceeds one")
        1.0
        >>> require(False, "shares must add up to 1, got {total}", total=0.9)
        Traceback (most recent call last):
        ...
        ValueError: shares must add up to 1, got 0.9
    """
    if not is_traced(ok):
        if np.all(ok):
            return 1.0
        raise ValueError(message.format(**{name: _first_bad(ok, value) for name, value in values.items()}))
    if _carry_checks.get():
        checkify.check(
            jnp.all(ok), message, debug=False, **{name: jnp.asarray(value) for name, value in values.items()}
        )
    return jnp.where(ok, 1.0, jnp.nan)


def require_domain(name: str, value: Scalar, domain: Domain) -> Scalar:
    """Return `value`, poisoned with NaN where it lies outside `domain`; raise if that is known now.

    Inside `established` this is the identity: the caller has checked its whole input already.

    Example:
        >>> from jaxstake.core.domain import FRACTION
        >>> require_domain("uptime", 1.5, FRACTION)
        Traceback (most recent call last):
        ...
        ValueError: uptime must be in [0, 1], got 1.5
    """
    if _established.get():
        return value
    factor = require(domain.contains(value), f"{name} must be {domain.rule}, got {{value}}", value=value)
    return value if isinstance(factor, float) else value * factor


def validate(container: Any) -> Scalar:
    """Check every leaf of a container against the domain its field declares.

    Returns:
        1.0, or (traced) a factor of 1 and NaN as in `require`.

    Raises:
        ValueError: a concrete leaf is outside its domain; the message gives its dotted name.
    """
    factor: Scalar = 1.0
    for name, domain in leaves.domains(container).items():
        value = leaves.get(container, name)
        factor = factor * require(domain.contains(value), f"{name} must be {domain.rule}, got {{value}}", value=value)
    return factor


@contextlib.contextmanager
def established() -> Iterator[None]:
    """Within this block `require_domain` trusts its caller, so that a model checks its input once."""
    token = _established.set(True)
    try:
        yield
    finally:
        _established.reset(token)


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make traced checks of `function` raise, also under `jit` and `vmap` inside it.

    Slower; for debugging. The function must not be compiled before: a compiled trace has no checks.

    Example:
        >>> from jaxstake.core.domain import POSITIVE
        >>> root = lambda x: jnp.sqrt(require_domain("x", x, POSITIVE))
        >>> checked(jax.vmap(root))(jnp.array([1.0, -4.0]))
        Traceback (most recent call last):
        ...
        ValueError: x must be greater than 0 and finite, got -4.0
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        token = _carry_checks.set(True)
        try:
            error, result = jax.jit(checkify.checkify(lambda a, k: function(*a, **k)))(args, kwargs)
        finally:
            _carry_checks.reset(token)
        message = error.get()
        if message is not None:
            raise ValueError(message.split(" (`check` failed)")[0])
        return result

    return wrapper


def _first_bad(ok: jax.Array | bool, value: Scalar) -> Any:
    """The first element of `value` at which `ok` fails, as a plain number if it is known."""
    while hasattr(value, "primal"):  # under an eager `grad` the number is known inside its tracer
        value = value.primal  # type: ignore[union-attr]
    if is_traced(value):
        return "a traced value"
    ok_array, value_array = np.broadcast_arrays(np.asarray(ok), np.asarray(value))
    return value_array[~ok_array].flat[0].item()
