"""`python -m bench`: runs scenarios, prints a table for each, writes everything into bench/out/."""

import argparse
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from bench import engines
from bench.places import OUT, measure_disk
from bench.processes import BenchError, stop_on_sigterm
from bench.report import Outcome, machine, show, write_json
from bench.scenarios import SCENARIOS, Scenario


def main(program: str, arguments: Sequence[str], *, long: bool) -> int:
    """Run the command line; 1 where a request failed, a scenario broke, or (in a full run) a target was missed.

    `long` says whether the scenarios that take long are the ones that run when none is named.
    """
    options = _options(program, arguments, long=long)
    console = Console()
    if options.scenarios == ["list"]:
        _list(console)
        return 0
    chosen = [each for each in SCENARIOS if each.name in options.scenarios] or [
        each for each in SCENARIOS if each.long == long
    ]
    engines.chosen = options.engine
    stop_on_sigterm()
    OUT.mkdir(exist_ok=True)
    about = machine()
    outcomes = [_run(scenario, console, quick=options.quick) for scenario in chosen]
    console.print(f"written to {write_json(outcomes, about)}")
    return int(any(outcome.failed for outcome in outcomes))


def _options(program: str, arguments: Sequence[str], *, long: bool) -> argparse.Namespace:
    usual = ", ".join(each.name for each in SCENARIOS if each.long == long)
    names = [each.name for each in SCENARIOS]
    parser = argparse.ArgumentParser(
        prog=program,
        description="Measures Backstory beside its floor, its peers and bare SQL, in one run on the same data.",
        epilog=f"Without a name: {usual}. 'list' says what each scenario measures. Known: {', '.join(names)}.",
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="what to run, or 'list'")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works; no targets")
    parser.add_argument(
        "--engine",
        choices=engines.NAMES,
        default="sqlite",
        help="what singles, batches and newest_page are kept on",
    )
    options = parser.parse_args(arguments)
    if options.scenarios != ["list"]:
        for name in options.scenarios:
            if name not in names:
                parser.error(f"there is no scenario {name}; known: {', '.join(names)}")
    return options


def _list(console: Console) -> None:
    for scenario in SCENARIOS:
        where = "scripts/soak" if scenario.long else "scripts/bench"
        console.print(f"[bold]{scenario.name}[/]  [dim]{where}, about {scenario.minutes} min[/]")
        console.print(scenario.measures + "\n", highlight=False)


def _run(scenario: Scenario, console: Console, *, quick: bool) -> Outcome:
    outcome = Outcome(scenario.name, scenario.measures, quick, disk=measure_disk())
    began = time.monotonic()
    try:
        with console.status(f"{scenario.name} …"):
            scenario.run(outcome)
    except BenchError as error:
        outcome.failures.append(str(error))
    outcome.seconds = round(time.monotonic() - began, 1)
    show(outcome, console)
    return outcome


if __name__ == "__main__":
    sys.exit(main("bench", sys.argv[1:], long=False))
