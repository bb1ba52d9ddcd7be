"""What a scenario found, as a table for people and as JSON for whoever compares runs."""

import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.load import LoadResult
from bench.places import OUT, Disk


class Figure(msgspec.Struct, frozen=True):
    """One measured number and its unit."""

    what: str
    value: float
    unit: str
    note: str = ""


class Check(msgspec.Struct, frozen=True):
    """One number (mostly a ratio of two figures of the same run) against its target."""

    what: str
    value: float
    unit: str
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )

    @property
    def target(self) -> str:
        """The target in words."""
        bound = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        return f"{bound} {self.unit}".replace(" ×", "×") if self.unit == "×" else f"{bound} {self.unit}"


class Outcome(msgspec.Struct):
    """Everything that one scenario found."""

    scenario: str
    measures: str
    quick: bool
    sizes: dict[str, float] = msgspec.field(default_factory=dict)
    figures: list[Figure] = msgspec.field(default_factory=list)
    checks: list[Check] = msgspec.field(default_factory=list)
    failures: list[str] = msgspec.field(default_factory=list)
    disk: Disk | None = None
    seconds: float = 0.0

    def figure(self, what: str, value: float, unit: str, note: str = "") -> None:
        """Add a figure."""
        self.figures.append(Figure(what, value, unit, note))

    def load(self, what: str, result: LoadResult, unit: str = "requests/s", scale: float = 1.0) -> float:
        """Add a load result: its rate (times `scale`), latencies in the note. A failure in it fails the scenario."""
        note = f"p50 {result.p50:g} ms, p99 {result.p99:g} ms; generator {result.busy:.0%} busy"
        rate = round(result.rate * scale, 1)
        self.figure(what, rate, unit, note)
        self.refuse(what, result)
        return rate

    def refuse(self, what: str, result: LoadResult) -> None:
        """Fail the scenario where anything but 200 was answered."""
        if result.failed:
            first = result.samples[0] if result.samples else "nothing was answered"
            self.failures.append(f"{what}: {result.statuses}; {first}")

    def check(
        self, what: str, value: float, unit: str, *, least: float | None = None, most: float | None = None
    ) -> None:
        """Add a check."""
        self.checks.append(Check(what, round(value, 3), unit, least, most))

    @property
    def failed(self) -> bool:
        """Requests failed, or (in a full run) a target was missed."""
        return bool(self.failures) or (not self.quick and not all(check.met for check in self.checks))


def ratio(part: float, whole: float) -> float:
    """`part / whole`; 0 where there is nothing to divide by."""
    return part / whole if whole else 0.0


def show(outcome: Outcome, console: Console) -> None:
    """Print what a scenario found."""
    quick = " [yellow](quick run: small sizes, targets not judged)[/]" if outcome.quick else ""
    console.rule(f"[bold]{outcome.scenario}[/]{quick}", align="left")
    console.print(outcome.measures, style="dim", highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    for figure in outcome.figures:
        table.add_row(figure.what, _number(figure.value), figure.unit, figure.note)
    for check in outcome.checks:
        verdict = "[yellow]quick[/]" if outcome.quick else "[green]met[/]" if check.met else "[red]missed[/]"
        table.add_row(
            f"[bold]{check.what}[/]", f"[bold]{check.value:.3g}[/]", check.unit, f"{check.target}  {verdict}"
        )
    console.print(table)
    if outcome.disk is not None:
        disk = outcome.disk
        text = f"disk: fdatasync p50 {disk.fdatasync_p50:g} µs, p95 {disk.fdatasync_p95:g} µs"
        console.print(f"{text}; {outcome.seconds:.0f} s\n", style="dim", highlight=False)
    for failure in outcome.failures:
        console.print("[red]FAILED[/]", failure, markup=True, highlight=False)


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def machine() -> dict[str, str | int | float | list[float]]:
    """What a reader must know to compare a run with another."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average_before": list(os.getloadavg()),
    }


def write_json(outcomes: Sequence[Outcome], about: dict[str, str | int | float | list[float]]) -> Path:
    """Write a run into out/; the file's name is the time of the run."""
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    whole = {"machine": about, "outcomes": [_plain(outcome) for outcome in outcomes]}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n")
    return path


def _plain(outcome: Outcome) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(outcome)
    plain["checks"] = [
        msgspec.to_builtins(check) | {"target": check.target, "met": check.met} for check in outcome.checks
    ]
    plain["failed"] = outcome.failed
    return plain
