"""The summary of how many arrays of golden vectors were compared, by function and fork."""

from __future__ import annotations

from collections import Counter

from jaxstake.beacon.rules import FORKS

COMPARED = "arrays compared"


def pytest_terminal_summary(terminalreporter):
    """Print the table; each test says what it compared in a property of its report, which also passes from workers."""
    total: Counter[tuple[str, str]] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, counts in getattr(report, "user_properties", []):
                if name == COMPARED and report.when == "call":
                    total.update({(function, fork): n for function, fork, n in counts})
    if not total:
        return
    forks = [name for name in FORKS if any(fork == name for _, fork in total)]
    terminalreporter.section("arrays compared with golden vectors, element by element")
    terminalreporter.write_line(f"{'':46}" + "".join(f"{fork:>11}" for fork in forks))
    for function in sorted({function for function, _ in total}):
        row = "".join(f"{total[function, fork] or '':>11}" for fork in forks)
        terminalreporter.write_line(f"{function:46}{row}")
    row = "".join(f"{sum(n for (_, f), n in total.items() if f == fork):>11}" for fork in forks)
    terminalreporter.write_line(f"{f'all: {sum(total.values())}':46}{row}")
