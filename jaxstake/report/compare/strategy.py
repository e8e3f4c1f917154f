"""Chapter 6 of the APR guide: allocation, leverage and the exit."""

from __future__ import annotations

from jaxstake.articles.apr_guide import statements, strategy
from jaxstake.articles.apr_guide.strategy import STRATEGIES, Optimizer
from jaxstake.data import mainnet
from jaxstake.economy.apr import apr
from jaxstake.protocol import forks
from jaxstake.protocol.queues import Wait, exit_wait
from jaxstake.report.compare.row import Basis, Row

OPTIMIZER = Optimizer()
CAPITAL = 1000.0
APR = "jaxstake.economy.apr.apr"
EXIT = "jaxstake.protocol.queues.exit_wait"


def rows(basis: Basis) -> list[Row]:
    """The claims of the chapter."""
    return [*_allocation(basis), *_strategies(), *_exit(basis), *_exit_by_day(), *_exit_cost(basis)]


def _allocation(basis: Basis) -> list[Row]:
    count = strategy.optimal_validator_count(OPTIMIZER, total_capital=CAPITAL)
    row = strategy.allocation(OPTIMIZER, n=count)
    compounding = forks.max_effective_balance_eth(basis.fork, compounding=True)
    smallest = forks.max_effective_balance_eth(basis.fork)
    whole = CAPITAL if float(compounding) > float(smallest) else float(smallest) * (CAPITAL // float(smallest))
    return [
        Row(
            key="optimizer-net-rate",
            section="6.1",
            claim="Net rate at a chance of 0.1 % to lose half the stake",
            printed=row.net_apr,
            protocol=OPTIMIZER.base_apr - 100 * OPTIMIZER.slash_probability * OPTIMIZER.slash_penalty,
            unit="%/year",
            why="The loss is taken from the reward, where it takes stake.",
            module=APR,
            tolerance=1e-3,
        ),
        Row(
            key="optimizer-stake",
            section="6.1",
            claim="ETH of 1,000 that can be staked",
            printed=row.stake,
            protocol=whole,
            unit="ETH",
            why="Since Electra a validator may hold any stake from 32 to 2,048 ETH; nothing is left over.",
            module="jaxstake.protocol.forks.max_effective_balance_eth",
            tolerance=1e-3,
        ),
        Row(
            key="optimizer-tolerance",
            section="6.1",
            claim="What a risk tolerance of 1 % changes in the return",
            printed=100 * (row.risk_adjusted_return / row.annual_return - 1),
            protocol=0.0,
            unit="%",
            why="A tolerance bounds the choice; it is no discount on what is earned.",
            module=APR,
        ),
    ]


def _strategies() -> list[Row]:
    capital = 100.0
    found = []
    reasons = {
        "full": "Right.",
        "partial": "The fraction enters twice: 95 % of 95 % of the return.",
        "pool": "Right, with a fee of 10 %.",
        "leveraged": "Leverage enters twice. Even the right column forgets the interest on the borrowed half.",
    }
    for (name, (fraction, fee)), (key, why) in zip(STRATEGIES.items(), reasons.items(), strict=True):
        printed = strategy.strategy_return(OPTIMIZER, stake_fraction=fraction, management_fee=fee, capital=capital)
        found.append(
            Row(
                key=f"strategy-{key}",
                section="6.1",
                claim=f"Yearly return of 100 ETH, {name}",
                printed=printed.annual_return,
                protocol=capital * fraction * OPTIMIZER.base_apr / 100 * (1 - fee),
                unit="ETH/year",
                why=why,
                module=APR,
            )
        )
    fraction, fee = STRATEGIES["pool (ETH2x)"]
    leveraged = strategy.strategy_return(OPTIMIZER, stake_fraction=fraction, management_fee=fee, capital=capital)
    earned = capital * fraction * OPTIMIZER.base_apr / 100 * (1 - fee)
    found.append(
        Row(
            key="leverage-with-interest",
            section="6.1",
            claim="The leveraged pool, borrowing at the staking rate",
            printed=leveraged.annual_return,
            protocol=earned - capital * (fraction - 1) * OPTIMIZER.base_apr / 100,
            unit="ETH/year",
            why="Less than the 4.5 ETH without leverage: the fee is paid on what is borrowed too.",
            module=APR,
        )
    )
    return found


def _exit(basis: Basis) -> list[Row]:
    printed = strategy.exit_analysis()
    least = _least_delay(basis)
    return [
        Row(
            key="exit-delay",
            section="6.2",
            claim='Exit delay, computed for "about 27 hours"',
            printed=printed.hours,
            protocol=24 * least.total,
            unit="hours",
            why=(
                "27 times the epochs of a day, so that 27 hours become 27 days. Right is 5 epochs of lookahead and "
                "256 until withdrawable, without a queue."
            ),
            module=EXIT,
        ),
        Row(
            key="exit-stated",
            section="6.2",
            claim="Exit delay, stated",
            printed=statements.EXIT_HOURS,
            protocol=24 * least.total,
            unit="hours",
            why="Right within 3 % when the exit queue is empty, and before the withdrawal sweep comes by.",
            module=EXIT,
            tolerance=0.05,
        ),
    ]


def _least_delay(basis: Basis) -> Wait:
    """The delay behind an empty queue, before the sweep."""
    stake = basis.scenario.network.total_stake_eth
    return exit_wait(basis.fork, queue_eth=0.0, total_stake_eth=stake, validators=0.0)


def _exit_by_day() -> list[Row]:
    printed = strategy.exit_analysis()
    found = []
    for day in mainnet.snapshots():
        scenario = mainnet.scenario(day)
        wait = exit_wait(
            scenario.fork,
            queue_eth=day.exit_queue_eth,
            total_stake_eth=day.total_stake_eth,
            validators=float(day.active_validators),
        )
        found.append(
            Row(
                key=f"exit-{day.date.isoformat()}",
                section="6.2",
                claim=f"Exit delay with queue and sweep, {day.date.isoformat()}",
                printed=printed.delay_days,
                protocol=wait.total,
                unit="days",
                why=(
                    f"Exit queue {float(wait.queue):.1f} days, withdrawal sweep {float(wait.sweep):.1f} days on "
                    "average."
                ),
                module=EXIT,
            )
        )
    return found


def _exit_cost(basis: Basis) -> list[Row]:
    fork, rate = basis.fork, apr(basis.scenario).net
    epochs = _least_delay(basis).total * forks.epochs_per_day(fork)
    cost = strategy.exit_analysis(exit_delay_epochs=epochs, validator_balance=32.0)
    return [
        Row(
            key="seconds-per-epoch",
            section="6.2",
            claim="Seconds of an epoch",
            printed=statements.SECONDS_PER_EPOCH,
            protocol=forks.seconds_per_epoch(fork),
            unit="s",
            why="32 slots of 12 seconds, as the next line of the document counts.",
            module="jaxstake.protocol.forks.seconds_per_epoch",
        ),
        Row(
            key="exit-cost",
            section="6.2",
            claim="Opportunity cost of the exit at 4.5 %",
            printed=strategy.exit_analysis().opportunity_cost,
            protocol=cost.opportunity_cost,
            unit="ETH",
            why="27 days for 27.8 hours, on 34 ETH for 32.",
            module=EXIT,
        ),
        Row(
            key="yearly-income",
            section="6.2",
            claim="Yearly income of 32 ETH at 4.5 %, stated in a comment",
            printed=statements.YEARLY_INCOME_ETH,
            protocol=32 * OPTIMIZER.base_apr / 100,
            unit="ETH/year",
            why=f"4.5 % of 32 ETH; at the rate of the newest scenario it is {32 * float(rate):.2f} ETH.",
            module=APR,
        ),
    ]
