"""Risk warnings: which thresholds of the staking system are near, and which lever moves the margin most.

`readings` gives value, threshold and margin of every quantity, `margins` the margins alone, and `gradients` their exact
derivatives in every number of the scenario; these are pure and can be batched. `warn` is the report for one scenario.

Source: Micro-staking analysis, section 5.2 ("establish risk warning mechanisms"), which leaves all of it open.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxstake.core import leaves
from jaxstake.core.checks import poison, require_domain
from jaxstake.core.domain import NON_NEGATIVE
from jaxstake.core.numerics import as_float
from jaxstake.microstaking.risk_quantities import (
    GROUPS,
    RULES,
    Group,
    Reading,
    Rule,
    margins,
    reading,
    readings,
    selling_to_price,
    sound_scenario,
)
from jaxstake.microstaking.risk_scenario import WarningScenario
from jaxstake.protocol.forks import Fork

__all__ = [
    "RULES",
    "Lever",
    "Reading",
    "RiskWarning",
    "Rule",
    "gradients",
    "margins",
    "readings",
    "selling_to_price",
    "state",
    "warn",
]

State = Literal["safe", "near", "breached"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lever:
    """How one number of the scenario moves a margin.

    Attributes:
        name: dotted name of the leaf.
        value: the leaf now.
        gradient: margin per unit of the leaf, exact.
        elasticity: relative change of the margin per relative change of the leaf; not finite at a margin of 0.
        change_per_percent: change of the margin, in its unit, when the leaf grows by 1 %, to first order.
    """

    name: str
    value: float
    gradient: float
    elasticity: float
    change_per_percent: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class RiskWarning:
    """One warning of a concrete scenario, with its levers, the strongest first (`thresholds.*` after all others)."""

    name: str
    meaning: str
    unit: str
    safe: Literal["below", "above"]
    value: float
    threshold: float
    margin: float
    relative: float
    state: State
    levers: tuple[Lever, ...]


def gradients(scenario: WarningScenario, *, fork: Fork) -> dict[str, dict[str, jax.Array]]:
    """Exact derivatives of every margin in every number of the scenario: `result[warning][leaf]`.

    By reverse differentiation; leaves that are arrays (`operators.others`) are left out.

    Args:
        scenario: the system.
        fork: constants.

    Raises:
        ValueError: as in `readings`.
    """
    return _all_groups(scenario, fork)[1]


def state(*, margin: float, threshold: float, near: float = 0.2) -> State:
    """Whether a threshold is breached (from it on), near (within a fraction of the threshold's size) or safe.

    Args:
        margin: distance to the threshold, positive on the safe side.
        threshold: the threshold, in the same unit.
        near: fraction of the threshold that counts as near, >= 0.

    Raises:
        ValueError: near is negative or not finite, or the margin is NaN.

    Example:
        >>> [state(margin=margin, threshold=10.0) for margin in (0.0, 1.0, 3.0)]
        ['breached', 'near', 'safe']
    """
    require_domain("near", near, NON_NEGATIVE)
    if math.isnan(margin):
        raise ValueError("margin must be a number, got nan")
    if margin <= 0:
        return "breached"
    return "near" if margin < near * abs(threshold) else "safe"


def warn(scenario: WarningScenario, *, fork: Fork, near: float = 0.2) -> list[RiskWarning]:
    """The report on one concrete scenario: every warning with its state and its levers, in the order of `RULES`.

    Levers are ranked by the change of the margin per 1 % of the lever, and thresholds come last, because to move the
    threshold is no remedy. Levers without effect are left out. It compiles once for all values of a scenario.

    Args:
        scenario: concrete numbers.
        fork: constants.
        near: fraction of a threshold within which a margin is near, >= 0.

    Raises:
        ValueError: as in `readings`, or near is out of range.

    Example:
        >>> from jaxstake.protocol import forks
        >>> found = {warning.name: warning for warning in warn(WarningScenario(), fork=forks.get("fulu"))}
        >>> found["nakamoto_finality"].state, found["nakamoto_finality"].levers[0].name
        ('near', 'operators.largest')
    """
    require_domain("near", near, NON_NEGATIVE)
    sound_scenario(scenario)
    found, slopes = jax.device_get(_all_groups(scenario, fork, _compiled_group))
    if any(math.isnan(one.margin) for one in found.values()):
        readings(scenario, fork=fork)  # raises the rule that is broken
    at = {name: float(value) for name, value in _numbers(scenario).items()}
    report = []
    for name, rule in RULES.items():
        now = found[name]
        margin, threshold = float(now.margin), float(now.threshold)
        report.append(
            RiskWarning(
                name=name,
                meaning=rule.meaning,
                unit=rule.unit,
                safe=rule.safe,
                value=float(now.value),
                threshold=threshold,
                margin=margin,
                relative=float(now.relative),
                state=state(margin=margin, threshold=threshold, near=near),
                levers=_levers(margin, at, slopes[name]),
            )
        )
    return report


# --- Derivatives ------------------------------------------------------------------------------------------------------


def _numbers(scenario: WarningScenario) -> dict[str, Any]:
    """The leaves without axes, by dotted name."""
    return {name: as_float(value) for name, value in leaves.as_dict(scenario).items() if not jnp.ndim(value)}


def _group(scenario: WarningScenario, fork: Fork, group: Group) -> tuple[dict[str, Reading], dict[str, Any]]:
    """Readings of one group and the slopes of their margins, in the leaves that move them."""
    function, names, leads = group
    ok = sound_scenario(scenario)
    moving = {name: at for name, at in _numbers(scenario).items() if name.startswith((*leads, "thresholds."))}

    def evaluate(point: dict[str, Any]) -> tuple[Any, dict[str, Reading]]:
        pairs = function(leaves.replace(scenario, point), fork)
        found = {name: reading(RULES[name], *pairs[name], ok) for name in names}
        return {name: found[name].margin for name in names}, found

    first, *others = names
    if others:
        return jax.jacrev(evaluate, has_aux=True)(moving)[::-1]

    def single(point: dict[str, Any]) -> tuple[Any, dict[str, Reading]]:
        found, aux = evaluate(point)
        return found[first], aux

    slopes, found = jax.grad(single, has_aux=True)(moving)
    return found, {first: slopes}


def _all_groups(
    scenario: WarningScenario, fork: Fork, one: Callable[..., Any] = _group
) -> tuple[dict[str, Reading], dict[str, dict[str, Any]]]:
    """Readings and slopes of every warning, in the order of `RULES`; a leaf that moves nothing has slope 0."""
    ok = sound_scenario(scenario)
    zero = {name: jnp.zeros_like(value) for name, value in _numbers(scenario).items()}
    found: dict[str, Reading] = {}
    slopes: dict[str, dict[str, Any]] = {}
    for group in GROUPS:
        some, rows = one(scenario, fork, group)
        found |= some
        slopes |= {name: {**zero, **row} for name, row in rows.items()}
    slopes = {name: {leaf: poison(ok, slope) for leaf, slope in slopes[name].items()} for name in RULES}
    return {name: found[name] for name in RULES}, slopes


_compiled_group = jax.jit(_group, static_argnums=2)


def _levers(margin: float, at: dict[str, float], slopes: dict[str, Any]) -> tuple[Lever, ...]:
    found = []
    for name, slope in slopes.items():
        gradient = float(slope)
        change = at[name] * gradient
        relative = change / margin if margin else math.copysign(math.inf, change)
        lever = Lever(
            name=name, value=at[name], gradient=gradient, elasticity=relative, change_per_percent=0.01 * change
        )
        found += [lever] if gradient else []
    return tuple(
        sorted(found, key=lambda lever: (lever.name.startswith("thresholds."), -abs(lever.change_per_percent)))
    )
