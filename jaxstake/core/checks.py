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
import operator
from collections.abc import Callable, Collection, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.experimental import checkify

from jaxstake.core import leaves
from jaxstake.core.domain import Domain
from jaxstake.core.numerics import as_float, keep_where
from jaxstake.core.typing import Scalar

# Part of the key of JAX's caches, so that a trace made with checks is never reused without them, nor the reverse.
_carry_checks = jax.make_user_context(default_value=False)
_established: contextvars.ContextVar[bool] = contextvars.ContextVar("established", default=False)


def is_traced(*values: Any) -> bool:
    """Whether any leaf of the values is a JAX tracer, so that its number is unknown now."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def confirm(ok: jax.Array | bool, message: str, **values: Scalar) -> jax.Array | bool:
    """Raise if a condition is known to fail; return it where it is traced, and True where it is known to hold.

    Args:
        ok: the condition, element by element.
        message: the rule; `{name}` is replaced by the value of that name.
        values: the numbers that the message quotes.

    Raises:
        ValueError: the condition is concrete and fails somewhere (also under an eager `grad`, where it is known).

    Example:
        >>> confirm(2 > 1, "two exceeds one")
        True
        >>> confirm(False, "shares must add up to 1, got {total}", total=0.9)
        Traceback (most recent call last):
        ...
        ValueError: shares must add up to 1, got 0.9
    """
    if _established.get():
        return True
    if not is_traced(ok):
        if np.all(ok):
            return True
        raise ValueError(message.format(**{name: _first_bad(ok, value) for name, value in values.items()}))
    if _carry_checks.value:
        quoted = {name: _first_bad_traced(ok, value) for name, value in values.items()}
        checkify.check(jnp.all(ok), message, debug=False, **quoted)
    return ok


def poison(ok: jax.Array | bool, value: Scalar) -> Scalar:
    """The value where the condition holds and NaN elsewhere, in value and gradient; as it is if known to hold."""
    return value if ok is True else keep_where(ok, value, otherwise=jnp.nan)


def require(ok: jax.Array | bool, message: str, **values: Scalar) -> Scalar:
    """Raise if the condition is known to fail; else return the factor by which to multiply a result: 1, or NaN.

    Example:
        >>> require(2 > 1, "two exceeds one")
        1.0
    """
    return poison(confirm(ok, message, **values), 1.0)


def require_domain(name: str, value: Scalar, domain: Domain) -> Scalar:
    """Return `value`, poisoned with NaN where it lies outside `domain`; raise if that is known now.

    An integer array comes back as floats. Inside `established` nothing is checked: the caller has checked its
    whole input already.

    Example:
        >>> from jaxstake.core.domain import FRACTION
        >>> require_domain("uptime", 1.5, FRACTION)
        Traceback (most recent call last):
        ...
        ValueError: uptime must be in [0, 1], got 1.5
    """
    if not isinstance(value, int | float) and not jnp.issubdtype(value.dtype, jnp.floating):
        value = as_float(value)
    if _established.get():
        return value
    factor = require(domain.contains(value), f"{name} must be {domain.rule}, got {{value}}", value=value)
    return value if isinstance(factor, float) else value * factor


def in_domains(container: Any, *, skip: Collection[str] = ()) -> jax.Array | bool:
    """Check every leaf of a container, but those named in `skip`, against the domain its field declares.

    Returns:
        True, or (traced) the condition that all lie inside. One condition for `poison`, because a chain of
        conjunctions costs a sweep far less than a product of factors.

    Raises:
        ValueError: a concrete leaf is outside its domain; the message gives its dotted name.
    """
    values = leaves.as_dict(container)
    return every(
        *(
            confirm(domain.contains(values[name]), f"{name} must be {domain.rule}, got {{value}}", value=values[name])
            for name, domain in leaves.domains(container).items()
            if name not in skip
        )
    )


def every(*conditions: jax.Array | bool) -> jax.Array | bool:
    """Conjunction of conditions as `confirm` returns them: True if all are known to hold.

    Conditions of one kind of tracer are joined first, so that those which are the same for every lane of a `vmap` are
    joined once and not lane by lane.
    """
    traced = sorted((ok for ok in conditions if ok is not True), key=lambda ok: type(ok).__name__)
    return functools.reduce(operator.and_, traced) if traced else True


@contextlib.contextmanager
def established() -> Iterator[None]:
    """Within this block every check trusts its caller, so that a model checks its input once."""
    token = _established.set(True)
    try:
        yield
    finally:
        _established.reset(token)


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make traced checks of `function` raise, also under `jit` and `vmap` inside it.

    Slower; for debugging. Functions that are compiled inside are traced anew. Arguments that are no numbers
    (names, functions) are passed on as they are.

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
        arguments, structure = jax.tree.flatten((args, kwargs))
        numbers = {place: leaf for place, leaf in enumerate(arguments) if _is_number(leaf)}

        def call(traced: dict[int, Any]) -> Any:
            given = [traced.get(place, leaf) for place, leaf in enumerate(arguments)]
            positional, named = jax.tree.unflatten(structure, given)
            return function(*positional, **named)

        with _carry_checks(True):
            error, result = jax.jit(checkify.checkify(call))(numbers)
        message = error.get()
        if message is not None:
            raise ValueError(message.split(" (`check` failed)")[0])
        return result

    return wrapper


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float, complex)) or hasattr(value, "dtype")


def _first_bad(ok: jax.Array | bool, value: Scalar) -> Any:
    """The first element of `value` at which `ok` fails, as a plain number if it is known."""
    while hasattr(value, "primal"):  # under an eager `grad` the number is known inside its tracer
        value = value.primal  # type: ignore[union-attr]
    if is_traced(value):
        return "a traced value"
    ok_array, value_array = np.broadcast_arrays(np.asarray(ok), np.asarray(value))
    return value_array[~ok_array].flat[0].item()


def _first_bad_traced(ok: Any, value: Scalar) -> jax.Array:
    """The same inside a trace."""
    shape = jnp.broadcast_shapes(jnp.shape(ok), jnp.shape(value))
    first = jnp.argmin(jnp.broadcast_to(ok, shape))
    return jnp.broadcast_to(jnp.asarray(value), shape).ravel()[first]
