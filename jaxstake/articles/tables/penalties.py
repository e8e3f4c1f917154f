"""Tables of chapter 3 of the APR guide: missed attestations, double signing, the leak."""

from __future__ import annotations

from jaxstake.articles.apr_guide import penalties
from jaxstake.articles.tables.layout import Column, Line, Table, Value, over

BASE_REWARD = 0.00001
LEAK_DISTANCES = (1, 10, 50, 100, 500, 1000, 5000, 10000)


def missed_attestations() -> Table:
    """Penalty by number of missed attestations."""
    missed = [1, 2, 5, 10, 50, 100]

    def row(missed: float, base_reward: float) -> dict[str, Value]:
        penalty = penalties.missed_attestation_penalty(base_reward=base_reward, missed_count=missed).base_penalty
        loss = penalties.relative_loss(penalty=penalty, base_reward=base_reward)
        return {"penalty": penalty, "relative_loss": loss}  # type: ignore[dict-item]

    return Table(
        name="missed-attestations",
        section="3.1",
        title="Penalties for missed attestations",
        double_rule=70,
        subtitle="1. Base penalty for missed attestations",
        columns=[
            Column("missed", "Missed", 10),
            Column("base_reward", "Base reward", 12, ">12.6f"),
            Column("penalty", "Penalty", 12, ">12.6f"),
            Column("relative_loss", "Relative", 12, ">11.4f", "%"),
        ],
        rule=50,
        rows=over(row, missed=missed, base_reward=[BASE_REWARD] * len(missed)),
    )


def leak_by_epochs() -> Table:
    """Leak penalty by epochs without finality."""

    def leak(epochs: float) -> dict[str, Value]:
        found = penalties.missed_attestation_penalty(base_reward=0.0, missed_count=0.0, epochs_since_finality=epochs)
        return {"leak_penalty": found.leak_penalty}  # type: ignore[dict-item]

    epochs = [5, 10, 50, 100, 500, 1000]
    rows = [
        {**row, "distance": max(0, count - penalties.LEAK_THRESHOLD)}
        for count, row in zip(epochs, over(leak, epochs=epochs), strict=True)
    ]
    return Table(
        name="leak-by-epochs",
        section="3.1",
        title="2. Leak penalty (long absence)",
        columns=[
            Column("epochs", "Epochs", 12),
            Column("distance", "Distance", 10),
            Column("leak_penalty", "Leak penalty", 15, ">15.10f", " ETH"),
        ],
        rule=50,
        rows=rows,
    )


def double_sign() -> Table:
    """Penalty for double signing by balance and message."""
    cases = [(balance, kind) for balance in (32, 16, 8, 4, 2) for kind in ("Attestation", "Block")]

    def row(balance: float, is_block: float) -> dict[str, Value]:
        penalty = penalties.double_sign_penalty(validator_effective_balance=balance, is_constructive=is_block > 0)
        return {"penalty": penalty, "remaining_ratio": (balance - penalty) / balance * 100}  # type: ignore[dict-item]

    found = over(row, balance=[balance for balance, _ in cases], is_block=[int(kind == "Block") for _, kind in cases])
    return Table(
        name="double-sign",
        section="3.2",
        title="Double signing",
        double_rule=70,
        columns=[
            Column("balance", "Balance", 15),
            Column("kind", "Signature", 15),
            Column("penalty", "Penalty", 15, ">15.6f"),
            Column("remaining_ratio", "Remaining", 12, ">11.2f", "%"),
        ],
        rule=70,
        rows=[{**row, "kind": kind} for (_, kind), row in zip(cases, found, strict=True)],
    )


def leak() -> Table:
    """Leak penalty by distance; beyond 5,792 epochs more than there is."""
    return Table(
        name="leak",
        section="3.3",
        title="Derivation of the leak penalty",
        double_rule=70,
        lines=[Line("eta", "Leak coefficient eta = 2^25 = {:,}\n", penalties.LEAK_QUOTIENT)],
        columns=[
            Column("distance", "Distance(d)", 12),
            Column("squared", "d^2", 15, ">15,"),
            Column("penalty", "Penalty L(d)", 15, ">15.10f"),
            Column("remaining_ratio", "Remaining", 12, ">11.4f", "%"),
        ],
        rule=60,
        rows=[{**row, "squared": int(row["distance"]) ** 2} for row in _leak_rows()],
        notes=[
            "",
            "Mathematical properties:",
            "  1. The leak penalty is a quadratic function of the distance",
            "  2. It grows faster with time",
            "  3. eta limits its largest speed, against a quick fall to zero",
        ],
    )


def leak_inverse() -> Table:
    """Distance at which a share of the balance is lost."""

    def row(loss_ratio: float) -> penalties.LeakDistance:
        return penalties.leak_distance(loss_ratio=loss_ratio)

    found = over(row, loss_ratio=[0.1, 0.25, 0.5, 0.75, 0.9])
    return Table(
        name="leak-inverse",
        section="3.3",
        title="Distance that a given loss takes:",
        columns=[
            Column("loss_percent", "Target loss", 15, ">14.1f", "%"),
            Column("distance", "Distance", 12, ">12,.0f"),
            Column("days", "About days", 12, ">12,.1f"),
        ],
        rule=50,
        rows=[{**row, "loss_percent": float(row["loss_ratio"]) * 100} for row in found],
    )


def _leak_rows() -> list[dict[str, Value]]:
    return over(lambda distance: penalties.leak_penalty(distance=distance), distance=LEAK_DISTANCES)
