"""Activities that an agent records by hand: a call that was taken, what somebody said at a fair."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from backstory.errors import Code, Fault, FieldErrors
from backstory.model.access import Session
from backstory.model.activity import MAX_DESCRIPTION, MAX_NAME, Actor, Object, own_event
from backstory.model.contact import Contact
from backstory.model.json_text import shorten
from backstory.model.moment import Microseconds, now
from backstory.store.base import Records, RecordsTransaction

KINDS = ("call", "meeting", "email", "chat", "visit", "other")


class Logged(Struct, frozen=True):
    """What an agent writes down, checked."""

    name: str
    kind: str
    description: str | None
    at: Microseconds


def check_logged(values: Mapping[str, str], read_time: Callable[[str], Microseconds]) -> Logged:
    """Check a form. Its time is read by `read_time`, which raises ValueError where it is none; without one it is now.

    Raises:
        FieldErrors: with everything that is wrong.
    """
    faults: list[Fault] = []
    name = values.get("name", "").strip()
    description = values.get("description", "").strip().replace("\r\n", "\n")  # as a browser counts them
    kind = values.get("kind", KINDS[-1])
    if not 1 <= len(name) <= MAX_NAME or "\0" in name:
        message = f"Say in 1 to {MAX_NAME} characters what happened."
        faults.append(Fault("name", message, Code.INVALID_VALUE))
    if len(description) > MAX_DESCRIPTION or "\0" in description:
        message = (
            f"The details have {len(description):,} characters; at most {MAX_DESCRIPTION:,} are possible."
        )
        faults.append(Fault("description", message, Code.INVALID_VALUE))
    if kind not in KINDS:
        faults.append(Fault("kind", f"One of these is possible: {', '.join(KINDS)}.", Code.INVALID_VALUE))
    at, time = now(), values.get("at", "").strip()
    try:
        at = read_time(time) if time else at
    except (ValueError, OverflowError):
        faults.append(Fault("at", f"{shorten(time)} is not a date and time.", Code.INVALID_VALUE))
    if faults:
        raise FieldErrors(faults)
    return Logged(name, kind, description or None, at)


async def log_activity(records: Records, contact: Contact, session: Session, logged: Logged) -> None:
    """Add it to the contact's timeline, as an activity of our own."""
    event = own_event(
        contact.key,
        logged.name,
        at=logged.at,
        received=now(),
        actor=Actor("agent", str(session.agent_id), session.name),
        about=Object(logged.kind),
        description=logged.description,
    )

    def work(transaction: RecordsTransaction) -> None:
        transaction.append([event])

    await records.write(work)
