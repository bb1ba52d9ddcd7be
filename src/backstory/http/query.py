"""Reading addresses: the number in a path, and query parameters.

Of those every fault is found at once, and the last of a repeated one counts (contract 4.5).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from backstory.errors import Code, Fault, FieldErrors, NotFound
from backstory.http.message import Request
from backstory.model.checks import HIGHEST_ID, MAX_UNKNOWN
from backstory.model.json_text import shorten
from backstory.model.moment import Microseconds, parse_moment
from backstory.model.page import DEFAULT_PER_PAGE, MAX_PER_PAGE, Filters, Place, decode_cursor
from backstory.model.words import split_words

MAX_QUERY_VALUE = 1_024
MAX_ALTERNATIVES = 50
_MAX_DIGITS = len(str(HIGHEST_ID))

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class PageQuery(NamedTuple):
    """What a list was asked for."""

    filters: Filters
    after: Place | None
    per_page: int


def is_number(text: str) -> bool:
    """Whether a text is a whole number, none too large to be one of ours."""
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and int(text) <= HIGHEST_ID


def number_in_path(request: Request, what: str, name: str = "id") -> int:
    """The number of a contact, a ticket or what else it is in the path.

    Raises:
        NotFound: it cannot be one.
    """
    text = request.path_values[name]
    if not (is_number(text) and int(text) > 0):
        raise NotFound(f"There is no {what} {shorten(text)}.")
    return int(text)


class QueryReader:
    """Takes parameters one by one and gathers what is wrong with them."""

    def __init__(self, request: Request, known: Iterable[str]) -> None:
        self._values: dict[str, list[str]] = {}
        self.faults: list[Fault] = []
        known = tuple(known)
        unknown: dict[str, None] = {}
        for sent, value in request.query():
            name = sent[1:] if sent.startswith("_") and sent[1:] in known else sent  # _updated_since
            if name in known:
                self._values.setdefault(name, []).append(value)
            else:
                unknown[name[:100]] = None
        self._refuse_unknown(list(unknown), known)

    def _refuse_unknown(self, names: Sequence[str], known: Sequence[str]) -> None:
        listed = ", ".join(known)
        for name in names[:MAX_UNKNOWN]:
            message = f"There is no such parameter here; known: {listed}."
            self.faults.append(Fault(name, message, Code.INVALID_FIELD))
        if len(names) > MAX_UNKNOWN:
            rest = f"There are {len(names) - MAX_UNKNOWN:,} more parameters that do not exist here."
            self.faults.append(Fault("query", rest, Code.INVALID_FIELD))

    def _fault(self, name: str, message: str) -> None:
        fault = Fault(name, message, Code.INVALID_VALUE)
        if fault not in self.faults:
            self.faults.append(fault)

    def _is_good(self, name: str, value: str) -> bool:
        if "\0" in value or len(value) > MAX_QUERY_VALUE:
            self._fault(name, f"It must have at most {MAX_QUERY_VALUE:,} characters and no U+0000.")
        elif not value.strip():
            self._fault(name, "It is blank; leave it out, or give it a value.")
        else:
            return True
        return False

    def text(self, name: str) -> str | None:
        """A parameter as it was sent, a repeated one as it was sent last."""
        sent = self._values.get(name)
        return sent[-1] if sent and self._is_good(name, sent[-1]) else None

    def texts(self, name: str) -> tuple[str, ...]:
        """A parameter that may be repeated."""
        values = tuple(dict.fromkeys(self._values.get(name, ())))
        if len(values) > MAX_ALTERNATIVES:
            self._fault(name, f"It was given {len(values)} times; at most {MAX_ALTERNATIVES} are possible.")
        return tuple(value for value in values[:MAX_ALTERNATIVES] if self._is_good(name, value))

    def moment(self, name: str) -> Microseconds | None:
        """A time."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return parse_moment(text.replace(" ", "+"))  # a + that was not escaped arrives as a space
        except ValueError as error:
            self._fault(name, f"{shorten(text)} is not a time that is accepted: {error}.")
            return None

    def words(self, name: str) -> tuple[str, ...]:
        """The words of a search."""
        text = self.text(name)
        if text is None:
            return ()
        words = tuple(dict.fromkeys(split_words(text)))
        if not words:
            self._fault(name, f"{shorten(text)} has no word in it: a word is a run of letters and digits.")
        return words

    def number(self, name: str, default: int, highest: int) -> int:
        """A whole number from 1 to `highest`."""
        text = self.text(name)
        if text is None:
            return default
        if not (is_number(text) and 1 <= int(text) <= highest):
            self._fault(name, f"{shorten(text)} is not a whole number from 1 to {highest:,}.")
            return default
        return int(text)

    def mandatory(self, name: str) -> str:
        """A text that must be there; empty where it is not, which is a fault."""
        text = self.text(name)
        if text is None and all(fault.field != name for fault in self.faults):
            self.faults.append(Fault(name, "It is mandatory and was not sent.", Code.MISSING_FIELD))
        return text or ""

    def phone(self, name: str) -> str | None:
        """A phone number; a + that was not escaped arrives as a space."""
        text = self.text(name)
        return f"+{text[1:]}" if text is not None and text.startswith(" ") else text

    def identifier(self, name: str) -> int | None:
        """The number of a record."""
        return self.number(name, 0, HIGHEST_ID) or None

    def choice(self, name: str, choices: Iterable[str]) -> str | None:
        """One of these texts."""
        text = self.text(name)
        choices = tuple(choices)
        if text is not None and text not in choices:
            self._fault(name, f"{shorten(text)} is none of {', '.join(choices)}.")
            return None
        return text

    def boolean(self, name: str) -> bool:
        """Whether it was asked for: true, True or 1."""
        text = self.text(name)
        if text is not None and text.lower() not in _BOOLEANS:
            self._fault(name, f"{shorten(text)} is neither true nor false.")
        return text is not None and _BOOLEANS.get(text.lower(), False)

    def cursor(self, name: str) -> Place | None:
        """A place to go on after."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return decode_cursor(text)
        except ValueError:
            self._fault(
                name, f"{shorten(text)} is not a cursor of this list; take it from the Link header as it is."
            )
            return None

    def finish(self) -> None:
        """Everything was taken.

        Raises:
            FieldErrors: something was wrong.
        """
        if self.faults:
            raise FieldErrors(self.faults)


TIMELINE_PARAMETERS = ("source", "type", "name", "actor_type", "since", "until", "q", "per_page", "cursor")
FIND_PARAMETERS = ("ref", *TIMELINE_PARAMETERS)
STREAM_PARAMETERS = ("after",)


def read_page_query(request: Request, known: Iterable[str]) -> PageQuery:
    """What a timeline or a find was asked for.

    Raises:
        FieldErrors: with every fault of the query.
    """
    reader = QueryReader(request, known)
    filters = Filters(
        sources=reader.texts("source"),
        types=reader.texts("type"),
        name=reader.text("name"),
        actor_type=reader.text("actor_type"),
        since=reader.moment("since"),
        until=reader.moment("until"),
        words=reader.words("q"),
        ref=reader.text("ref"),
    )
    after = reader.cursor("cursor")
    per_page = reader.number("per_page", DEFAULT_PER_PAGE, MAX_PER_PAGE)
    reader.finish()
    return PageQuery(filters, after, per_page)
