"""The floor: Backstory's own server that reads, authenticates, validates and answers, and stores nothing.

Everything up to the commit and behind it is the product's own code with its own settings; the group commit alone is
replaced by an answer made on the spot. What the product reaches of the floor's rate is what durability costs.

`python -m bench.floor PORT DATABASE` serves; the database is read for the keys.
"""

import sys
from collections.abc import Sequence

from backstory import app
from backstory.config import read_settings
from backstory.model.activity import Publication, Published
from backstory.model.ids import ActivityId, first_position
from backstory.observe import configure_logs
from backstory.store.base import PublishResult


class Unstored:
    """Stands where the group commit stands, and keeps nothing."""

    waiting = 0

    def __init__(self, *_: object) -> None:
        """Takes what the group commit takes, and needs none of it."""
        self._position = first_position(1_760_000_000_000)

    async def publish(self, publications: Sequence[Publication]) -> list[PublishResult]:
        """Answer at once what a store would answer after its commit."""
        return [self._published(item) for item in publications]

    def _published(self, item: Publication) -> Published:
        self._position += 1
        return Published(ActivityId(self._position, self._position), 1, item.external_id, "email")

    async def close(self) -> None:
        """There is nothing to finish."""


def main(port: int, database: str) -> None:
    """Serve the floor the way `backstory serve` serves the product."""
    configure_logs("warning", human=False)
    vars(app)["GroupCommit"] = Unstored
    app.serve(read_settings(host="127.0.0.1", port=port, database=f"sqlite:///{database}"))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
