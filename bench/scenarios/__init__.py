"""Every scenario, in the order in which a run goes through them.

A scenario is a function of an `Outcome` to fill; its docstring says what it measures and against which target, and is
printed above its table. `QUICK` sizes are for a smoke run, whose figures say nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

from bench.report import Outcome
from bench.scenarios.batches import batches
from bench.scenarios.grow import grow
from bench.scenarios.import_memory import import_memory
from bench.scenarios.moves import moves
from bench.scenarios.newest_page import newest_page
from bench.scenarios.node_kills import node_kills
from bench.scenarios.pages import pages
from bench.scenarios.search import search
from bench.scenarios.singles import singles
from bench.scenarios.sustained import sustained
from bench.scenarios.ticket_lists import ticket_lists
from bench.scenarios.viewers import viewers


class Scenario(NamedTuple):
    """A scenario and about how many minutes it takes the first time (later runs find large databases made)."""

    run: Callable[[Outcome], None]
    minutes: int
    long: bool = False

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.run.__name__

    @property
    def measures(self) -> str:
        """Its docstring, its lines joined within paragraphs."""
        paragraphs = (self.run.__doc__ or "").strip().split("\n\n")
        return "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(singles, 6),
    Scenario(sustained, 2),
    Scenario(batches, 2),
    Scenario(viewers, 1),
    Scenario(ticket_lists, 3),
    Scenario(pages, 2),
    Scenario(import_memory, 5, long=True),
    Scenario(newest_page, 60, long=True),
    Scenario(grow, 60, long=True),
    Scenario(search, 5, long=True),
    Scenario(moves, 40, long=True),
    Scenario(node_kills, 25, long=True),
)
