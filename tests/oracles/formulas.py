"""What every smooth formula must pass whatever it computes: modes of execution, gradients, bad inputs.

A `Formula` is a function of a fork and keyword arguments with a point inside its domain. Gradients are taken as
elasticities, the relative change of the result per relative change of a leaf, because the leaves of a fork span
twenty orders of magnitude and finite differences need one scale.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from jaxstake.core import leaves
from jaxstake.protocol import forks

LANES = (1.0, 0.97, 0.9)
ROUNDING = 64 * float(jnp.finfo(jnp.result_type(float)).eps)
"""Relative tolerance between modes of execution: every formula is a few dozen operations on positive numbers."""


@dataclasses.dataclass(frozen=True)
class Bad:
    """A value outside the domain of an argument, and the rule that the message must state.

    A relational rule compares with another argument; NaN then breaks the argument's own rule first.
    """

    name: str
    value: float
    rule: str
    relational: bool = False


@dataclasses.dataclass(frozen=True)
class Formula:
    """A smooth formula at an interior point, with the fork constants on which its value there depends."""

    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    constants: frozenset[str] | set[str]
    bad: tuple[Bad, ...] = ()
    kinks: tuple[Mapping[str, Any], ...] = ()
    fork: str = "fulu"
    label: str = ""

    @property
    def name(self) -> str:
        """Name for the test report."""
        return self.function.__name__ + (f"-{self.label}" if self.label else "")


def names(formulas: list[Formula]) -> dict[str, Any]:
    """Arguments of `pytest.mark.parametrize` for a list of formulas."""
    return {"argnames": "formula", "argvalues": formulas, "ids": [formula.name for formula in formulas]}


def bad_inputs(formulas: list[Formula]) -> dict[str, Any]:
    """Arguments of `pytest.mark.parametrize` for every bad input of a list of formulas."""
    pairs = [(formula, bad) for formula in formulas for bad in formula.bad]
    ids = [f"{formula.name}-{bad.name}={bad.value:g}" for formula, bad in pairs]
    return {"argnames": ("formula", "bad"), "argvalues": pairs, "ids": ids}


def kinks(formulas: list[Formula]) -> dict[str, Any]:
    """Arguments of `pytest.mark.parametrize` for every kink of a list of formulas."""
    pairs = [(formula, kink) for formula in formulas for kink in formula.kinks]
    ids = [f"{formula.name}-{'-'.join(f'{k}={v:.4g}' for k, v in kink.items())}" for formula, kink in pairs]
    return {"argnames": ("formula", "kink"), "argvalues": pairs, "ids": ids}


def evaluate(formula: Formula) -> Callable[[Any, Any], Any]:
    """The formula as a function of two positional pytrees."""
    return lambda fork, arguments: formula.function(fork, **arguments)


def total(formula: Formula) -> Callable[[Any, Any], Any]:
    """Sum of all numbers that the formula returns."""
    return lambda fork, arguments: sum(jax.tree.leaves(formula.function(fork, **arguments)))


def lanes(tree: Any) -> list[Any]:
    """The tree scaled by each of `LANES`, leaf by leaf."""
    return [jax.tree.map(lambda leaf, scale=scale: leaf * scale, tree) for scale in LANES]


def lanes_by_mode(formula: Formula) -> dict[str, np.ndarray]:
    """All numbers that the formula returns, [lane, number], evaluated eagerly, under jit, and by vmap inside jit.

    Both the arguments and the fork's constants differ from lane to lane.
    """
    function = evaluate(formula)
    compiled = jax.jit(function)
    points = lanes((forks.get(formula.fork), dict(formula.arguments)))
    batch = jax.jit(jax.vmap(function))(*jax.tree.map(lambda *values: jnp.asarray(values, float), *points))
    return {
        "eager": np.asarray([jax.tree.leaves(function(*point)) for point in points], float),
        "jit": np.asarray([jax.tree.leaves(compiled(*point)) for point in points], float),
        "vmap": np.asarray(jax.tree.leaves(batch), float).T,
    }


def relative(formula: Formula, varied: Collection[str] | None = None) -> tuple[Callable[[Any], Any], Any]:
    """The formula's total over its own value as a function of relative changes of leaves, and zero change.

    `varied` are the dotted names of the leaves that change, of the arguments or of the fork; all by default.
    """
    fork, arguments = forks.get(formula.fork), dict(formula.arguments)
    every = {**leaves.as_dict(fork), **leaves.as_dict(arguments)}
    scale = float(total(formula)(fork, arguments))
    names = list(every) if varied is None else sorted(varied)

    def changed(change: Any) -> Any:
        values = {name: every[name] * (1.0 + x) for name, x in change.items()}
        of_arguments = {name: values.pop(name) for name in leaves.names(arguments) if name in values}
        return total(formula)(leaves.replace(fork, values), leaves.replace(arguments, of_arguments)) / scale

    return changed, {name: jnp.zeros(()) for name in names}


def elasticities(formula: Formula) -> dict[str, float]:
    """Elasticity of the formula's total in every argument and fork constant by dotted name, where not rounding."""
    changed, zero = relative(formula)
    found = jax.jit(jax.grad(changed))(zero)
    return {name: float(value) for name, value in found.items() if not abs(value) <= ROUNDING}


def expected_dependence(formula: Formula) -> set[str]:
    """Names of all arguments and of the constants that the formula must depend on."""
    return set(leaves.names(dict(formula.arguments))) | set(formula.constants)


def check_derivatives(formula: Formula) -> None:
    """First and second derivatives, forward and reverse, against central differences in one random direction (x64).

    The direction has a part along every argument and every constant on which the formula depends.
    """
    changed, zero = relative(formula, expected_dependence(formula))
    check_grads(changed, (zero,), order=2, modes=("fwd", "rev"), atol=1e-5, rtol=1e-5)


def gradient_at(formula: Formula, kink: Mapping[str, Any]) -> np.ndarray:
    """Value and gradient in every argument and constant at the point with some arguments replaced."""
    arguments = leaves.replace(dict(formula.arguments), kink)
    value, gradient = jax.value_and_grad(total(formula), argnums=(0, 1))(forks.get(formula.fork), arguments)
    return np.asarray([value, *jax.tree.leaves(gradient)], float)


def call_with(formula: Formula, name: str, value: float) -> Any:
    """The formula at its point with one argument replaced."""
    return formula.function(forks.get(formula.fork), **leaves.replace(dict(formula.arguments), {name: value}))


def messages(bad: Bad) -> list[tuple[float, str]]:
    """The bad value and NaN, each with the pattern of the message that must follow: argument, rule and value."""
    values = (bad.value,) if bad.relational else (bad.value, float("nan"))
    return [(value, re.escape(f"{bad.name} must be {bad.rule}, got {value}")) for value in values]


def traced_value_and_gradient(formula: Formula, bad: Bad) -> tuple[float, float]:
    """Value of the formula and its derivative in the bad argument, traced."""
    fork = forks.get(formula.fork)

    def function(value: Any) -> Any:
        return total(formula)(fork, leaves.replace(dict(formula.arguments), {bad.name: value}))

    value, gradient = jax.jit(jax.value_and_grad(function))(bad.value)
    return float(value), float(gradient)
