"""Who does something, and from where: what every change of the helpdesk is told."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from backstory.model.access import AuditEntry


class Acting(NamedTuple):
    """An agent who does something, and the entry that the audit log gets of it."""

    agent_id: int
    entry: AuditEntry

    def on(self, target: str) -> AuditEntry:
        """The entry, once it is known what it was done to."""
        return replace(self.entry, target=target)
