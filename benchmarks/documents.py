"""Workload: the source documents' Monte Carlo and loops, as functions of this package and as the documents print them.

The classes below do the printed arithmetic, in the printed order, with NumPy and Python as printed. The simulation's
two scores, which its document calls and never defines, are here its own entropy of the shares, and the largest share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.setting import Setting
from benchmarks.timing import Task
from jaxstake.articles.apr_guide import calculator, mev, strategy
from jaxstake.articles.microstaking_analysis import security, simulation

FEW, MANY = 10_000, 10_000_000
FULL_RUN = 1 << 22
"""Lanes of a run that measures the sizes above; a smaller one measures at most its own number."""

STAKES = (5e6, 60e6)
PARAMS = {"mu": 3.5, "sigma": 1.0}
PRECISIONS = (("double precision", np.float64), ("float32", np.float32))


def tasks(setting: Setting) -> list[Task]:
    """Both simulations and both loops, each at both sizes."""
    many = MANY if setting.lanes >= FULL_RUN else setting.lanes
    counts = (FEW, many) if many > FEW else (many,)
    works = (_mev_tasks, _simulation_tasks, _apr_tasks, _optimizer_tasks)
    return [task for work in works for count in counts for task in work(count)]


# --- As printed -----------------------------------------------------------------------------------------------------


class MEVRewardModel:
    """Section 4.1 of the APR guide."""

    def __init__(self) -> None:
        self.mean_log_return = -2.5
        self.std_log_return = 1.2

    def mev_distribution(self, n_simulations: int = 10000) -> dict[str, Any]:
        """Six statistics of so many draws."""
        np.random.seed(42)  # noqa: NPY002
        log_returns = np.random.normal(self.mean_log_return, self.std_log_return, n_simulations)  # noqa: NPY002
        mev_samples = np.exp(log_returns)
        return {
            "mean": np.mean(mev_samples),
            "median": np.median(mev_samples),
            "std": np.std(mev_samples),
            "p5": np.percentile(mev_samples, 5),
            "p95": np.percentile(mev_samples, 95),
            "p99": np.percentile(mev_samples, 99),
        }


def simulate_security_liquidity(params: dict[str, float], n_simulations: int = 10000) -> tuple[Any, Any]:
    """Section 3.1 of the micro-staking analysis; returns the two scores, which as printed are dropped."""
    stake_distribution = np.random.lognormal(mean=params["mu"], sigma=params["sigma"], size=n_simulations)  # noqa: NPY002
    return calculate_security(stake_distribution), calculate_liquidity(stake_distribution)


def calculate_security(stakes: np.ndarray) -> Any:
    """Entropy of the shares, bits."""
    shares = stakes / np.sum(stakes)
    return -np.sum(shares * np.log2(shares))


def calculate_liquidity(stakes: np.ndarray) -> Any:
    """The largest share."""
    return np.max(stakes) / np.sum(stakes)


class StakingRewardCalculator:
    """Section 2.2 of the APR guide. The arithmetic takes a number, as printed, or an array."""

    def __init__(self) -> None:
        self.slots_per_epoch = 32
        self.epochs_per_day = 225
        self.slots_per_day = self.slots_per_epoch * self.epochs_per_day
        self.days_per_year = 365
        self.base_reward_factor = 64
        self.base_recipients_per_epoch = 1
        self.proposer_score_boost = 1 / 8
        self.effective_balance = 32

    def calculate_base_reward(self, total_stake: Any) -> Any:
        base_rewards_per_epoch = self.base_reward_factor * self.base_recipients_per_epoch * 10**9
        reward = self.effective_balance * base_rewards_per_epoch / total_stake
        return reward / 10**9

    def calculate_attestation_reward(self, total_stake: Any, participation_rate: float = 0.99) -> Any:
        base_reward = self.calculate_base_reward(total_stake)
        attestation_weight = 1
        total_weight = self.slots_per_epoch * participation_rate
        return base_reward * attestation_weight / total_weight * participation_rate

    def calculate_proposer_reward(self, total_stake: Any, chain_activity_rate: float = 0.98) -> Any:
        base_reward = self.calculate_base_reward(total_stake)
        return base_reward * self.proposer_score_boost * chain_activity_rate

    def calculate_sync_committee_reward(self, total_stake: Any, sync_committee_size: int = 512) -> tuple[Any, Any, Any]:
        base_reward = self.calculate_base_reward(total_stake)
        sync_reward_factor = 2
        avg_committee_reward = base_reward * sync_reward_factor / sync_committee_size
        selection_prob = sync_committee_size / (total_stake / self.effective_balance)
        annual_reward = avg_committee_reward * self.epochs_per_day * self.days_per_year
        return avg_committee_reward, selection_prob, annual_reward

    def calculate_annual_apr(self, total_stake: Any, include_mev: bool = True, include_tips: bool = True) -> dict:
        base_reward = self.calculate_base_reward(total_stake)
        self.calculate_attestation_reward(total_stake)  # printed so, and not used
        proposer_reward = self.calculate_proposer_reward(total_stake)
        sync_reward = self.calculate_sync_committee_reward(total_stake)[2]
        daily_reward = (
            base_reward * self.epochs_per_day
            + proposer_reward * (self.slots_per_day / total_stake / self.effective_balance)
            + sync_reward / self.days_per_year
        )
        annual_reward = daily_reward * self.days_per_year
        mev_annual = 0.02 * self.effective_balance if include_mev else 0
        tips_annual = 0.005 * self.effective_balance if include_tips else 0
        total_annual = annual_reward + mev_annual + tips_annual
        apr = (total_annual / self.effective_balance) * 100
        return {
            "base_apr": (annual_reward / self.effective_balance) * 100,
            "mev_apr": (mev_annual / self.effective_balance) * 100,
            "tips_apr": (tips_annual / self.effective_balance) * 100,
            "total_apr": apr,
            "annual_reward_eth": total_annual,
        }


class StakingOptimizer:
    """Section 6.1 of the APR guide."""

    def __init__(self, total_capital: float, risk_tolerance: float = 0.01) -> None:
        self.total_capital = total_capital
        self.validator_stake = 32
        self.risk_tolerance = risk_tolerance
        self.base_apr = 4.5
        self.slash_prob = 0.001
        self.slash_penalty = 0.5

    def optimize_validator_count(self) -> list[dict[str, Any]]:
        max_validators = int(self.total_capital // self.validator_stake)
        return [self.row(n) for n in range(1, max_validators + 1)]

    def row(self, n: Any) -> dict[str, Any]:
        """The body of the printed loop, of a number or of an array."""
        stake = n * self.validator_stake
        apr = self.base_apr
        expected_loss_rate = self.slash_prob * self.slash_penalty
        net_apr = apr * (1 - expected_loss_rate)
        annual_return = stake * net_apr / 100
        return {
            "n": n,
            "stake": stake,
            "apr": apr,
            "net_apr": net_apr,
            "annual_return": annual_return,
            "risk_adjusted_return": annual_return * (1 - self.risk_tolerance),
        }


# --- As functions of this package -----------------------------------------------------------------------------------


def mev_statistics(count: int, dtype: Any) -> Callable[..., mev.MevStatistics]:
    """Draws and statistics in one compiled call, of the model and a key."""
    return jax.jit(lambda model, key: mev.mev_distribution(model, draws=jax.random.normal(key, (count,), dtype)))


def scores(count: int) -> Callable[..., Any]:
    """Draws and the two scores in one compiled call, of a key and the parameters."""

    def both(key: jax.Array, mu: Any, sigma: Any) -> Any:
        found = simulation.simulate_security_liquidity(
            key=key,
            mu=mu,
            sigma=sigma,
            calculate_security=lambda stakes: security.entropy(shares=stakes / jnp.sum(stakes)),
            calculate_liquidity=lambda stakes: jnp.max(stakes) / jnp.sum(stakes),
            n_simulations=count,
        )
        return found.security_score, found.liquidity_score

    return jax.jit(both)


def annual_aprs() -> Callable[..., calculator.AnnualApr]:
    """The annual rate over total stakes; what is the same in every lane comes out once, as from the class."""
    once: dict[str, Any] = dict.fromkeys(("mev_apr", "tips_apr"))
    out = calculator.AnnualApr(base_apr=0, total_apr=0, annual_reward_eth=0, **once)
    one = jax.vmap(lambda c, stake: calculator.annual_apr(c, total_stake=stake), in_axes=(None, 0), out_axes=out)
    return jax.jit(one)


def allocations(count: int) -> Callable[..., strategy.Allocation]:
    """The rows of 1, 2, ... validators, a column each; what is the same in every row comes out once."""
    once: dict[str, Any] = dict.fromkeys(("apr", "net_apr"))
    out = strategy.Allocation(n=0, stake=0, annual_return=0, risk_adjusted_return=0, **once)
    one = jax.vmap(lambda optimizer, n: strategy.allocation(optimizer, n=n), in_axes=(None, 0), out_axes=out)
    return jax.jit(lambda optimizer: one(optimizer, jnp.arange(1, count + 1).astype(float)))


# --- Tasks ----------------------------------------------------------------------------------------------------------


def _mev_tasks(count: int) -> list[Task]:
    work, printed = f"mev_distribution, {count:,} draws", MEVRewardModel()
    theirs = Task(work, "NumPy, as printed", count, 0, lambda _: printed.mev_distribution(count))
    return [
        *(
            _ours(work, name, count, mev_statistics(count, dtype), lambda: (mev.MevModel(), jax.random.key(42)))
            for name, dtype in PRECISIONS
        ),
        theirs,
    ]


def _simulation_tasks(count: int) -> list[Task]:
    work, function = f"simulate_security_liquidity, {count:,} draws", scores(count)
    return [
        *(
            _ours(
                work,
                name,
                count,
                function,
                lambda dtype=dtype: (jax.random.key(42), *(jnp.asarray(value, dtype) for value in PARAMS.values())),
            )
            for name, dtype in PRECISIONS
        ),
        Task(work, "NumPy, as printed", count, 0, lambda _: simulate_security_liquidity(PARAMS, count)),
    ]


def _apr_tasks(count: int) -> list[Task]:
    work, printed, function = f"calculate_annual_apr, {count:,} stakes", StakingRewardCalculator(), annual_aprs()
    stakes = np.random.default_rng(0).uniform(*STAKES, count)
    few = stakes[:FEW].tolist()
    return [
        *(
            _ours(
                work,
                name,
                count,
                function,
                lambda dtype=dtype: (calculator.Calculator(), jnp.asarray(stakes, dtype)),
            )
            for name, dtype in PRECISIONS
        ),
        Task(work, "NumPy, the class on an array", count, 0, lambda _: printed.calculate_annual_apr(stakes)),
        Task(work, "Python, a loop", len(few), 0, lambda _: [printed.calculate_annual_apr(stake) for stake in few]),
    ]


def _optimizer_tasks(count: int) -> list[Task]:
    work, few = f"optimize_validator_count, {count:,} rows", min(count, FEW)
    whole, loop = StakingOptimizer(32 * count), StakingOptimizer(32 * few)
    return [
        _ours(work, PRECISIONS[0][0], count, allocations(count), lambda: (strategy.Optimizer(),)),
        Task(work, "NumPy, the loop's body on an array", count, 0, lambda _: whole.row(np.arange(1.0, count + 1))),
        Task(work, "Python, a loop as printed", few, 0, lambda _: loop.optimize_validator_count()),
    ]


def _ours(work: str, name: str, count: int, function: Callable[..., Any], arguments: Callable[[], Any]) -> Task:
    """A task of this package, which turns double precision on and builds its arguments at the first turn."""
    kept: list[Any] = []

    def run(_: int) -> Any:
        with jax.enable_x64(True):
            if not kept:
                kept.append(jax.block_until_ready(arguments()))
            return jax.block_until_ready(function(*kept[0]))

    return Task(work, f"jaxstake, {name}", count, 0, run)
