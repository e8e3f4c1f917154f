"""Figures of the comparison: three printed curves and the protocol's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from jaxstake.articles.apr_guide import calculator, penalties, risk
from jaxstake.articles.apr_guide.calculator import Calculator
from jaxstake.core import leaves
from jaxstake.core.typing import Scalar
from jaxstake.economy.apr import apr
from jaxstake.protocol.issuance import perfect_apr
from jaxstake.protocol.penalties import ejection_epochs, leak_retained_share
from jaxstake.report.compare.row import Basis
from jaxstake.report.style import ACCENT, CONTRAST, MUTED, RULE, canvas, style

BALANCE = 32.0


def draw(basis: Basis) -> dict[str, Figure]:
    """All figures by name."""
    with style():
        return {"rate": _rate(basis), "leak": _leak(basis), "uptime": _uptime(basis)}


def _curve(function: Callable[[Scalar], Any], at: np.ndarray) -> np.ndarray:
    return np.asarray(jax.vmap(lambda x: jnp.asarray(function(x)))(jnp.asarray(at)))


def _two_lines(axes: Any, x: np.ndarray, printed: np.ndarray, protocol: np.ndarray) -> None:
    axes.plot(x, printed, color=CONTRAST)
    axes.plot(x, protocol, color=ACCENT)
    axes.grid(axis="y", color=RULE)


def _name(axes: Any, text: str, x: float, y: float, color: str, *, place: tuple[int, int]) -> None:
    axes.annotate(text, (x, y), xytext=place, textcoords="offset points", color=color, fontweight="bold")


def _rate(basis: Basis) -> Figure:
    figure, (axes,) = canvas(height=3.4)
    stake = np.geomspace(5e6, 60e6, 120)
    printed = _curve(lambda s: calculator.annual_apr(Calculator(), total_stake=s).base_apr, stake)
    protocol = _curve(lambda s: 100 * perfect_apr(basis.fork, total_stake_eth=s), stake)
    _two_lines(axes, stake / 1e6, printed, protocol)
    today = float(basis.scenario.network.total_stake_eth)
    axes.axvline(today / 1e6, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.annotate("stake now", (today / 1e6, 100), xytext=(5, -4), textcoords="offset points", color=MUTED, va="top")
    _name(axes, "printed, ~1/S", 20, float(np.interp(20e6, stake, printed)), CONTRAST, place=(6, 8))
    _name(axes, "protocol, ~1/sqrt(S)", 20, float(np.interp(20e6, stake, protocol)), ACCENT, place=(6, 8))
    axes.set(yscale="log", ylim=(1, 120), xlabel="total stake, million ETH", ylabel="base APR, % per year")
    axes.set_yticks([1, 2, 5, 10, 20, 50, 100], labels=["1", "2", "5", "10", "20", "50", "100"])
    axes.minorticks_off()
    return figure


def _leak(basis: Basis) -> Figure:
    figure, (axes,) = canvas(height=3.4)
    epochs = np.linspace(0, 10_000, 401)
    ejected = float(ejection_epochs(basis.fork, balance_eth=BALANCE))
    printed = _curve(lambda d: penalties.leak_penalty(distance=d).remaining, epochs)
    protocol = _curve(lambda d: BALANCE * leak_retained_share(basis.fork, epochs=jnp.minimum(d, ejected)), epochs)
    _two_lines(axes, epochs, printed, protocol)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    left = BALANCE * float(leak_retained_share(basis.fork, epochs=ejected))
    axes.plot([ejected], [left], "o", color=ACCENT, markersize=5)
    _name(axes, f"ejected after {ejected:,.0f} epochs", ejected, left, ACCENT, place=(8, 8))
    _name(axes, "printed", 8200, float(np.interp(8200, epochs, printed)), CONTRAST, place=(8, 4))
    axes.set(xlabel="epochs of leak, offline from the start", ylabel="balance left of 32 ETH, ETH", xlim=(0, 10_000))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return figure


def _uptime(basis: Basis) -> Figure:
    figure, (axes,) = canvas(height=3.2)
    uptime = np.linspace(0.0, 1.0, 101)

    def consensus(u: Scalar) -> Scalar:
        return apr(leaves.replace(basis.scenario, {"validator.uptime": u})).consensus

    full = float(consensus(1.0))
    printed = _curve(lambda u: risk.validator_availability(uptime=u).apr, uptime) / 4.5 * 100
    protocol = _curve(lambda u: 100 * consensus(u) / full, uptime)
    _two_lines(axes, 100 * uptime, printed, protocol)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    _name(axes, "printed", 40, 40, CONTRAST, place=(-8, 12))
    _name(axes, "protocol", 60, float(np.interp(0.6, uptime, protocol)), ACCENT, place=(10, -8))
    axes.set(xlabel="uptime, %", ylabel="income, % of full uptime", xlim=(0, 100))
    return figure
