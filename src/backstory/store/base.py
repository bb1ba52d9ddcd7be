"""The interfaces of storage. Engines hold only queries; the rules live to the left and right of them.

Two kinds of data: the activity log (append-only, huge, read by contact) and the records (relational, small).
`Store.publish` is the one place where both are written together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import sqlalchemy as sa
from msgspec import Struct

from backstory.model.access import Agent, AuditEntry, KeyInfo, Principal, Rejection, Role
from backstory.model.activity import Activity, Arrival, Deletion, Event, Publication, Published
from backstory.model.contact import Contact
from backstory.model.identity import Resolved, Sought
from backstory.model.ids import ActivityId, ContactKey, Position
from backstory.model.moment import Microseconds
from backstory.model.page import Filters, Page, Place

T = TypeVar("T")

Connection = sa.Connection
"""What queries of the records run on, under a name that needs no driver."""

PublishResult = Published | Exception
"""What became of one publication. An exception stands for that one alone; the others are kept."""


class Arrivals(Struct, frozen=True):
    """What came after a position, in the order of arrival; `position` is where to go on, `more` whether at once."""

    events: tuple[Activity | Deletion, ...]
    position: Position
    more: bool = False


class StreamPosition(Struct, frozen=True):
    """The newest position, and the generation of the log that it belongs to (a restore begins a new one).

    Positions before `oldest` are not known any more: who stopped there must read afresh.
    """

    generation: str
    position: Position
    oldest: Position = 0


class Homes(Struct, frozen=True):
    """A contact as the log knows it: its public number, and the homes whose activities are its timeline."""

    contact_id: int
    keys: tuple[ContactKey, ...]


class TimelineRead(Struct, frozen=True):
    """A page of a contact's timeline, and the stream position that was taken before it (on a first page)."""

    homes: Homes
    page: Page
    position: StreamPosition | None


class WrittenPage(Struct, frozen=True):
    """A page as the API answers it: the JSON array, where it goes on, and the stream position of a first page.

    `homes` are those of the contact whose timeline it is.
    """

    text: bytes
    next: Place | None
    position: StreamPosition | None = None
    homes: Homes | None = None


class ActivityLog(Protocol):
    """What contacts did, append-only."""

    @property
    def overlap(self) -> Position:
        """How far behind one that is seen another arrival may still appear; 0 where the order of arrival is exact.

        Who follows reads from so far behind its place, and drops what it has.
        """

    @property
    def finds_words(self) -> bool:
        """Whether `find` takes words: it refuses them where not."""

    @property
    def late_seconds(self) -> float:
        """For how long after its contact is gone an activity may still appear that had found it; 0 where none does.

        Who erases looks once more then.
        """

    async def get(self, activity_id: ActivityId) -> Activity | None:
        """One activity; None where there is none (or no longer)."""

    async def origin(self, activity_id: ActivityId) -> bytes | None:
        """The identifiers as sent and what they matched (JSON of `Origin`); None where there is no such activity."""

    async def page(
        self, homes: Sequence[ContactKey], filters: Filters, after: Place | None, limit: int
    ) -> Page:
        """The timeline of one contact, who may stand for several homes, newest first."""

    async def find(self, filters: Filters, after: Place | None, limit: int) -> Page:
        """Activities across contacts, newest first."""

    async def arrivals(
        self, homes: Sequence[ContactKey], after: Position, limit: int, had: Collection[Arrival] = ()
    ) -> Arrivals:
        """What arrived for a contact after a position, oldest first, at most `limit` events.

        Where the order is not exact, so that places are read again, what the caller `had` is left out.
        """

    async def all_arrivals(
        self, after: Position, limit: int, homes: frozenset[ContactKey], had: Collection[Arrival] = ()
    ) -> Arrivals:
        """What arrived after a position, oldest first: what the live viewers are fed from.

        At most `limit` arrivals of anybody are looked at; those of `homes` are answered. `had` as in `arrivals`.
        """

    async def stream_position(self) -> StreamPosition:
        """The position of the newest arrival or deletion (0 in an empty log)."""

    async def delete(self, activity_id: ActivityId, entry: AuditEntry) -> Deletion | None:
        """Remove an activity and every trace of its text; None where there was none. Audited in one transaction."""

    async def erase(self, homes: Sequence[ContactKey], limit: int) -> int:
        """Remove some activities, at most `limit`, of erased contacts, and every trace of their text; how many.

        0 once none is left. In one short transaction, so that publishing goes on between two; cut off anywhere, it is
        called again. What recognises replays stays: a replay stores nothing, and is answered the first one's id
        without a contact. Not audited: whoever erases a contact does that once, and sends its viewers away.
        """


class RecordsTransaction(Protocol):
    """A change of the records under way: everything that is done with it becomes durable together, or nothing does."""

    @property
    def records(self) -> sa.Connection:
        """What the queries of `store.records` run on."""

    @property
    def append(self) -> Callable[[Sequence[Event]], None]:
        """Add activities of our own source to the log, with the change that they tell of.

        Where the log is kept elsewhere they are noted in the same transaction, and the log has them a moment later.
        """

    @property
    def resolve(self) -> Callable[[Sought], Resolved]:
        """Find a contact, or make it, by the rules of publishing (contract 1.1, "Which contact").

        Raises:
            FieldErrors: `contact.id` names nobody.
        """


class Records(Protocol):
    """Contacts and their identities, agents, keys, audit, and the helpdesk: whatever is relational.

    The helpdesk's own queries are functions over a connection, in `store.records`; `read` and `write` run them.
    """

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run queries, off the event loop; they may be run again, so they change nothing.

        Raises:
            Unavailable: storage cannot be read now.
        """

    async def write(self, work: Callable[[RecordsTransaction], T]) -> T:
        """Run `work` in a transaction of its own; answer once it is durable. An exception of `work` undoes it.

        `work` may be run again from the start where the engine could not serialise it: it has no other effects.
        A caller that goes away changes nothing.

        Raises:
            Unavailable: storage cannot take it now; nothing was changed, or (it was cut off) the message says that
                this is not known.
        """

    async def contact(self, contact_id: int) -> Contact | None:
        """One contact by number; None where there is none."""

    async def homes(self, contact_id: int) -> Homes | None:
        """The homes that a contact stands for; None where there is no contact with this number."""

    async def contact_ids(self, keys: Sequence[ContactKey]) -> dict[ContactKey, int]:
        """The public numbers of contacts, by their key in the log."""

    async def principal(self, key_hash: bytes) -> Principal | None:
        """Whose key this is; None where it is unknown or revoked. Expiry is the caller's to check."""

    async def create_agent(
        self, email: str, name: str, role: Role, password_hash: str, entry: AuditEntry
    ) -> Agent:
        """Create an agent.

        Raises:
            OperatorError: there is one with this email.
        """

    async def create_key(
        self,
        key_hash: bytes,
        hint: str,
        *,
        agent_email: str | None,
        sources: Sequence[str],
        expires: Microseconds | None,
        entry: AuditEntry,
    ) -> int:
        """Keep a key's hash and answer its number.

        Raises:
            OperatorError: there is no such agent.
        """

    async def keys(self) -> list[KeyInfo]:
        """Every key ever issued, oldest first."""

    async def revoke_key(self, key_id: int, entry: AuditEntry) -> bool:
        """End a key; False where there is none or it was revoked before."""

    async def audit(self, entry: AuditEntry) -> None:
        """Add an entry to the audit log."""

    async def audit_page(self, before: int | None, limit: int) -> list[tuple[int, AuditEntry]]:
        """Entries of the audit log with their numbers, newest first."""

    async def keep_rejections(self, rejections: Sequence[Rejection]) -> None:
        """Keep refused requests, and drop those beyond the limits in number and days."""

    async def rejections(
        self, before: int | None, limit: int, source: str | None = None
    ) -> list[tuple[int, Rejection]]:
        """Refused requests with their numbers, newest first; of one source where it is named."""


class Bookmark(Struct, frozen=True):
    """How far a named import has come, kept in the same transaction as what it published."""

    name: str
    line: int
    offset: int


class StoreStats(Struct, frozen=True):
    """What storage tells the metrics."""

    index_lag: float
    index_renewals: int = 0


class Store(Protocol):
    """One installation's storage."""

    @property
    def log(self) -> ActivityLog:
        """What contacts did."""

    @property
    def records(self) -> Records:
        """Contacts, agents, keys, audit."""

    @property
    def atomic(self) -> bool:
        """Whether `publish` keeps all that it keeps, and the bookmark, at one moment, or nothing.

        Where not, one that is answered `Unavailable` may be kept, and those beside it are.
        """

    async def start(self, arrived: Callable[[], None]) -> None:
        """Begin what a server does by itself: `arrived` is called when another process may have committed something.

        Tools do not call it.
        """

    async def publish(
        self, publications: Sequence[Publication], bookmark: Bookmark | None = None
    ) -> list[PublishResult]:
        """Make publications durable, in one transaction where it is `atomic`; what became of each, in order.

        An idempotency check and its insert are one atomic step, and requests that race to create a contact give one.
        A caller that goes away changes nothing.

        Raises:
            Unavailable: storage cannot take them now; nothing was kept, or (it was cut off) the message says that this
                is not known. Where it is not `atomic`, single ones are answered so too.
        """

    async def read_timeline(
        self, contact_id: int, filters: Filters, after: Place | None, limit: int
    ) -> TimelineRead | None:
        """A page of a contact's timeline, newest first; None where there is no contact with this number.

        One call, because it is what an agent waits for: an engine that has everything in one place asks once.
        """

    async def bookmark(self, name: str) -> Bookmark | None:
        """How far a named import came."""

    async def ready(self) -> None:
        """Return when storage can be written and read.

        Raises:
            Unavailable: it cannot.
        """

    def stats(self) -> StoreStats:
        """A snapshot for the metrics."""

    async def close(self) -> None:
        """Finish what was taken, then let go of everything."""


@runtime_checkable
class WritesPages(Protocol):
    """A store that can write a page's JSON itself. One that cannot is read, and the page is written from that."""

    async def write_timeline(
        self, contact_id: int, filters: Filters, after: Place | None, limit: int
    ) -> WrittenPage | None:
        """As `Store.read_timeline`, written."""
