"""Chapter 5 of the APR guide: rates adjusted for risk, and availability."""

from __future__ import annotations

from jaxstake.articles.arithmetic import divide
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar


@pytree
class RiskAdjusted:
    """What `risk_adjusted_apr` returns, all in percent as printed."""

    nominal_apr: Scalar = leaf(unit="%/year")
    expected_loss: Scalar = leaf(unit="% (printed so)")
    risk_adjusted_apr: Scalar = leaf(unit="%/year")
    sharpe_adjusted_apr: Scalar = leaf(unit="%/year")


@pytree
class Availability:
    """Columns of the table of section 5.2."""

    apr: Scalar = leaf(unit="%/year")
    loss: Scalar = leaf(unit="percentage points")
    relative_loss: Scalar = leaf(unit="%")


def risk_adjusted_apr(
    *,
    nominal_apr: Scalar,
    slash_probability: Scalar,
    expected_slash_penalty: Scalar,
    downtime_probability: Scalar,
    expected_downtime_penalty: Scalar,
    volatility: Scalar = 0.15,
    risk_aversion: Scalar = 2.0,
) -> RiskAdjusted:
    """Rate less expected losses, and a rate adjusted "in the style of the Sharpe ratio".

    Printed: `ExpectedLoss = P(slash) * Penalty + P(downtime) * DowntimePenalty`, `adjusted = nominal - ExpectedLoss`,
        and `sharpe = nominal - 0.5 * 2.0 * 0.15^2`. The function as printed does not run: its parameter is called
        `slash` with the Chinese word for probability, its body says `slash_probability`. Appendix A.3 repeats the
        first.

    Args:
        nominal_apr: percent per year.
        slash_probability: a fraction per year.
        expected_slash_penalty: printed as 0.5, "half"; subtracted as percentage points.
        downtime_probability: a fraction.
        expected_downtime_penalty: printed as 0.1; subtracted as percentage points.
        volatility: standard deviation per year, a fraction.
        risk_aversion: coefficient.

    Returns:
        `RiskAdjusted`, percent.

    Outside: Any number is used as it is; at no volatility the second adjustment is none.

    Protocol: A loss of half the stake with a chance of 0.1 % costs 0.05 percentage points, printed 0.0005, and the
        adjustment of 0.0225 is a fraction, 2.25 percentage points, subtracted from a percentage. A volatility of 15 %
        is that of no staking reward either. Slashing as it is: `jaxstake.protocol.slashing.slashing_loss`; the spread
        of rewards: `jaxstake.protocol.duties.yearly_income_moments`; the net rate: `jaxstake.economy.apr.apr`.

    Source: APR guide, section 5.1, `risk_adjusted_apr`; appendix A.3.

    Example:
        >>> found = risk_adjusted_apr(nominal_apr=4.5, slash_probability=0.01, expected_slash_penalty=0.5,
        ...                           downtime_probability=0.1, expected_downtime_penalty=0.1)
        >>> print(f"{found.risk_adjusted_apr:.4f} {found.sharpe_adjusted_apr:.4f}")
        4.4850 4.4775
    """
    expected_loss = slash_probability * expected_slash_penalty + downtime_probability * expected_downtime_penalty
    risk_adjustment = 0.5 * risk_aversion * volatility**2
    return RiskAdjusted(
        nominal_apr=nominal_apr,
        expected_loss=expected_loss,
        risk_adjusted_apr=nominal_apr - expected_loss,
        sharpe_adjusted_apr=nominal_apr - risk_adjustment,
    )


def variance_adjusted_apr(*, nominal_apr: Scalar, risk_aversion: Scalar, reward_variance: Scalar) -> Scalar:
    """Rate less a price for its variance, as the docstring states it.

    Printed: `RiskAdjustedAPR = NominalAPR - lambda * Var(Reward)`; the code takes half of it.

    Args:
        nominal_apr: per year, in a unit that is not said.
        risk_aversion: `lambda`.
        reward_variance: variance in the square of that unit.

    Returns:
        Per year.

    Outside: Any number is used as it is.

    Protocol: The mean-variance certainty equivalent has half the coefficient of risk aversion, as the code and not the
        docstring; the variance of the rewards is in `jaxstake.protocol.duties.yearly_income_moments`.

    Source: APR guide, section 5.1, docstring of `risk_adjusted_apr`.
    """
    return nominal_apr - risk_aversion * reward_variance


def validator_availability(*, uptime: Scalar, base_apr: Scalar = 4.5) -> Availability:
    """Rate at an uptime.

    Printed: `effective = base_apr * uptime`, its loss, and the loss relative to the base, in percent.

    Args:
        uptime: a fraction.
        base_apr: percent per year.

    Returns:
        `Availability`, percent.

    Outside: Any number is multiplied as it is; the relative loss is NaN for no base rate.

    Protocol: A missed duty is not only unpaid but penalised: an hour offline costs 1.656 times what an hour online
        earns in consensus rewards, where 1 is printed, and below some 40 % uptime the consensus rate is negative:
        `jaxstake.economy.apr.apr`.

    Source: APR guide, section 5.2, `validator_availability_analysis`.

    Example:
        >>> print(f"{validator_availability(uptime=0.9).apr:.2f}")
        4.05
    """
    effective = base_apr * uptime
    loss = base_apr - effective
    return Availability(apr=effective, loss=loss, relative_loss=divide(loss, base_apr) * 100)
