"""The query language of searches (contract 10): `priority:>3 AND (status:2 OR tag:'vip')`, read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from enum import Enum, StrEnum
from typing import Any, NamedTuple, cast

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from backstory.errors import Code, Fault, FieldErrors
from backstory.model.checks import HIGHEST_ID
from backstory.model.custom_field import CustomField, FieldType
from backstory.model.json_text import shorten
from backstory.model.moment import Microseconds, parse_moment

MAX_QUERY = 512
DAY = 24 * 3600 * 1_000_000

GRAMMAR = r"""
    ?any: all | all ("OR" all)+         -> any_of
    ?all: item | item ("AND" item)+     -> all_of
    ?item: "(" any ")" | term
    term: FIELD ":" [COMPARISON] value
    value: STRING | NUMBER | WORD

    FIELD: /[A-Za-z_][\w]*(?=\s*:)/
    COMPARISON: ">" | "<"
    STRING: /'(?:[^'\\]|\\.)*'/
    NUMBER: /-?\d+(?:\.\d+)?/
    WORD: "null" | "true" | "false"
    %ignore /\s+/
"""


class Kind(Enum):
    """What a field's values are, as a message calls them."""

    INTEGER = "a whole number without quotes"
    DECIMAL = "a number without quotes"
    TEXT = "a text in single quotes"
    BOOLEAN = "true or false"
    DATE = "a day in single quotes, 'YYYY-MM-DD'"


class Searched(StrEnum):
    """What can be searched, by the name that its look-ups are kept under."""

    CONTACTS = "contact"
    TICKETS = "ticket"
    COMPANIES = "company"


_DATES = ("created_at", "updated_at")

SEARCHED_FIELDS: dict[Searched, dict[str, Kind]] = {
    Searched.TICKETS: {
        **dict.fromkeys(("agent_id", "group_id", "priority", "status"), Kind.INTEGER),
        **dict.fromkeys(("tag", "type"), Kind.TEXT),
        **dict.fromkeys(("due_by", "fr_due_by", *_DATES), Kind.DATE),
    },
    Searched.CONTACTS: {
        "active": Kind.BOOLEAN,
        "company_id": Kind.INTEGER,
        **dict.fromkeys(
            ("twitter_id", "email", "phone", "mobile", "tag", "language", "time_zone"), Kind.TEXT
        ),
        **dict.fromkeys(_DATES, Kind.DATE),
    },
    Searched.COMPANIES: {"domain": Kind.TEXT, **dict.fromkeys(_DATES, Kind.DATE)},
}
"""What each can be asked for, beside the fields that an installation adds."""


class Comparison(StrEnum):
    """How a field is compared. The contract's `:>` is at least, and `:<` at most."""

    EQUAL = ":"
    AT_LEAST = ":>"
    AT_MOST = ":<"


class Term(NamedTuple):
    """A field and what it is compared with: text, number, boolean, the moment at which a day begins, or None."""

    field: str
    comparison: Comparison
    value: str | int | float | bool | None
    kind: Kind


class AllOf(NamedTuple):
    """Everything must hold."""

    parts: tuple[Query, ...]


class AnyOf(NamedTuple):
    """One at least must hold."""

    parts: tuple[Query, ...]


Query = Term | AllOf | AnyOf

MAX_ALTERNATIVES = 8


def alternatives(query: Query) -> tuple[tuple[Query, ...], ...]:
    """A query as an OR of ANDs: what must hold together, in each of the alternatives.

    Where that would be more than MAX_ALTERNATIVES, an AnyOf stays as it is within its AND.
    """
    match query:
        case AnyOf(parts):
            found = tuple(each for part in parts for each in alternatives(part))
            return found if len(found) <= MAX_ALTERNATIVES else ((query,),)
        case AllOf(parts):
            combined: tuple[tuple[Query, ...], ...] = ((),)
            for part in parts:
                branches = alternatives(part)
                if len(combined) * len(branches) > MAX_ALTERNATIVES:
                    branches = ((part,),)
                combined = tuple((*before, *branch) for before in combined for branch in branches)
            return combined
    return ((query,),)


RANGED = (Kind.INTEGER, Kind.DECIMAL, Kind.DATE)
"""What can be compared by order."""

_CUSTOM_KINDS = {
    FieldType.NUMBER: Kind.INTEGER,
    FieldType.DECIMAL: Kind.DECIMAL,
    FieldType.DATE: Kind.DATE,
    FieldType.CHECKBOX: Kind.BOOLEAN,
}


def kinds_with(known: Mapping[str, Kind], custom: Sequence[CustomField]) -> dict[str, Kind]:
    """The fields of an object, those that the installation has added among them."""
    return {**known, **{field.name: _CUSTOM_KINDS.get(field.type, Kind.TEXT) for field in custom}}


def read_query(text: str, kinds: Mapping[str, Kind]) -> Query:
    """What a query asks for.

    Args:
        text: the query, with the double quotes around it.
        kinds: the fields that can be asked for.

    Raises:
        FieldErrors: with the place of the fault, or of every field and value that is wrong.
    """
    text = text.strip()
    if len(text) < 2 or not text.startswith('"') or not text.endswith('"'):
        raise _refusal('It stands in double quotes: query="status:2".')
    inner = text[1:-1]
    if len(inner) > MAX_QUERY:
        raise _refusal(f"It has {len(inner):,} characters; at most {MAX_QUERY} are possible.")
    if not inner.strip():
        raise _refusal("It is empty.")
    try:
        tree = _PARSER.parse(inner)
    except UnexpectedInput as error:
        raise _refusal(_explain(error, inner)) from None
    reader = _Reader(kinds)
    query: Query = reader.transform(tree)
    if reader.faults:
        raise FieldErrors(reader.faults)
    return query


_PARSER = Lark(GRAMMAR, parser="lalr", start="any", maybe_placeholders=True)


def _refusal(message: str) -> FieldErrors:
    return FieldErrors([Fault("query", message, Code.INVALID_VALUE)])


def _explain(error: UnexpectedInput, text: str) -> str:
    """Where reading stopped, and what was expected there."""
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        opened = text.count("(") > text.count(")")
        missing = "a closing parenthesis is missing" if opened else "a field with a value is missing"
        return f"It ends too early: {missing} at its end."
    place = cast(int, error.pos_in_stream)
    found = text[place : place + 20]
    where = f"At character {place + 1}, at {shorten(found)}"
    if isinstance(error, UnexpectedCharacters) and found.startswith("'"):
        return f"{where}: the single quote is not closed."
    expected: set[str] = getattr(error, "accepts", None) or getattr(error, "allowed", None) or set()
    return f"{where}: expected {_expectation(expected)}."


def _expectation(names: set[str]) -> str:
    if "FIELD" in names:
        return "a field and a colon, as in status:2, or a parenthesis"
    if "STRING" in names:
        return "a value: a number, a text in single quotes, true, false or null"
    if "COLON" in names:
        return "a colon and a value behind the field"
    return "AND, OR or the end"


class _Reader(Transformer[Token, Any]):
    """From the parser's tree to a query, gathering what is wrong with fields and values."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        super().__init__()
        self._kinds = kinds
        self.faults: list[Fault] = []

    def any_of(self, parts: list[Query]) -> Query:
        return AnyOf(_flat(parts, AnyOf))

    def all_of(self, parts: list[Query]) -> Query:
        return AllOf(_flat(parts, AllOf))

    @v_args(inline=True)
    def value(self, token: Token) -> Token:
        return token

    @v_args(inline=True)
    def term(self, field: Token, sign: Token | None, value: Token) -> Term:
        comparison = Comparison(f":{sign or ''}")
        kind = self._kinds.get(field)
        if kind is None:
            known = ", ".join(sorted(self._kinds))
            self._fault(field, Code.INVALID_FIELD, f"there is no such field; possible: {known}")
            return Term(field, comparison, None, Kind.TEXT)
        if sign is not None and (kind not in RANGED or value == "null"):
            self._fault(sign, Code.INVALID_VALUE, f"{field} cannot be compared so; write {field}:value")
        return Term(str(field), comparison, self._value(field, kind, value), kind)

    def _value(self, field: Token, kind: Kind, sent: Token) -> Any:
        if sent == "null":
            return None
        taken = _take(kind, sent)
        if taken is None:
            self._fault(sent, Code.INVALID_VALUE, f"{field} is compared with {kind.value}, or null")
        return taken

    def _fault(self, token: Token, code: Code, message: str) -> None:
        place = (token.start_pos or 0) + 1
        self.faults.append(Fault("query", f"At character {place}, at {shorten(token)}: {message}.", code))


def _flat(parts: Sequence[Query], kind: type[AllOf] | type[AnyOf]) -> tuple[Query, ...]:
    """The parts, those of parts of the same kind taken out of them."""
    return tuple(inner for part in parts for inner in (part.parts if isinstance(part, kind) else (part,)))


def _take(kind: Kind, sent: Token) -> str | int | float | bool | None:
    """A sent as a value of this kind; None where it cannot be one."""
    match kind, sent.type:
        case Kind.INTEGER, "NUMBER" if "." not in sent and abs(int(sent)) <= HIGHEST_ID:
            return int(sent)
        case Kind.DECIMAL, "NUMBER" if len(sent) < 32:
            return float(sent)
        case Kind.TEXT, "STRING" if "\0" not in sent:
            return _text(sent)
        case Kind.BOOLEAN, "WORD":
            return bool(sent == "true")
        case Kind.DATE, "STRING":
            return _day(_text(sent))
    return None


def _text(token: str) -> str:
    """A text without its quotes; a backslash keeps what follows it."""
    parts = token[1:-1].split("\\\\")
    return "\\".join(part.replace("\\'", "'") for part in parts)


def _day(text: str) -> Microseconds | None:
    """When a day begins, in UTC."""
    try:
        date.fromisoformat(text)
        return parse_moment(text) if len(text) == len("2026-01-31") else None
    except ValueError:
        return None
