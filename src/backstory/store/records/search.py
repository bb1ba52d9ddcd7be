"""Searches over contacts, tickets and companies: a checked query as conditions, its matches counted and paged.

Matches come newest first: in the order of their numbers, downwards. They are counted up to MAX_TOTAL: who has more
wants to narrow the search, and counting a million rows for the sake of one number would take longer than all the rest.

So a search is: the newest MAX_TOTAL numbers that match. An OR is the union of such lists. Of an AND, the term that
fewest rows have leads, through an index that ends in the number, and the others are asked of the rows that it brings
(docs/decisions/0009-search.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql.operators import custom_op

from backstory.model.custom_field import PREFIX, searched_value
from backstory.model.identity import email_key, twitter_key
from backstory.model.moment import format_moment
from backstory.model.search import (
    DAY,
    RANGED,
    AllOf,
    AnyOf,
    Comparison,
    Kind,
    Query,
    Searched,
    Term,
    alternatives,
)
from backstory.store.records.contacts import select_numbered
from backstory.store.records.homes import select_survivors
from backstory.store.records.lookups import tag_key
from backstory.store.records.tables import (
    SEARCHED_CONTACTS,
    SEARCHED_TICKETS,
    companies,
    company_domains,
    contacts,
    custom_values,
    identifiers,
    record_tags,
    tickets,
)

MAX_TOTAL = 10_000
"""So many matches are counted."""

MAX_SORTED = 100_000
"""So many rows are sorted, where what leads to them does not bring them in order."""

MAX_GATHERED = 30_000
"""Fewer rows of a look-up are gathered once, to ask the rows that another term brings; of more each is looked up."""


class Found(NamedTuple):
    """How many match, counted up to MAX_TOTAL, and the numbers of one page of them."""

    total: int
    ids: list[int]


def search(
    connection: sa.Connection, searched: Searched, query: Query, region: str | None, limit: int, offset: int
) -> Found:
    """A page of what a query finds, newest first. `region` is the country of phone numbers without a country code."""
    terms = _Terms(connection, searched, region)
    branches = [_newest(connection, searched, terms.all_of(branch)) for branch in alternatives(query)]
    # Counted where they are: most are in the total alone, and are not worth the way here.
    found = _joined(branches).cte("found")
    total = sa.select(sa.func.count()).select_from(found).scalar_subquery()
    page = sa.select(found.c.id).order_by(found.c.id.desc()).limit(limit).offset(offset).subquery()
    always = sa.select(sa.literal(1).label("one")).subquery()  # so that a page past the end has a total, too
    answer = sa.select(total.label("total"), page.c.id).select_from(always.outerjoin(page, sa.true()))
    rows = connection.execute(answer.order_by(page.c.id.desc())).all()
    return Found(rows[0].total, [row.id for row in rows if row.id is not None])


def _joined(branches: Sequence[_Numbers]) -> _Numbers:
    """The newest rows that any of these finds, at most MAX_TOTAL."""
    if len(branches) == 1:
        return branches[0]
    # The order and the bound are the union's own: so SQLite merges what is in order already.
    union = sa.union(*(sa.select(branch.subquery().c.id) for branch in branches))
    return union.order_by(sa.desc("id")).limit(MAX_TOTAL)


def _newest(connection: sa.Connection, searched: Searched, terms: Sequence[_Condition]) -> _Numbers:
    """The newest rows that all terms hold for, at most MAX_TOTAL."""
    table, rows = _ROWS[searched]
    leading = min(terms, key=lambda term: term.cost, default=None)
    if leading is not None and leading.cost == math.inf:
        leading = None
    others = [term for term in terms if term is not leading]
    # Where few rows lead, to look each up is less than to pass over all that a look-up has.
    many = leading is not None and leading.cost >= MAX_TOTAL and (leading.merges or leading.lookup is None)
    merged = [term for term in others if many and term.merges]
    number: sa.ColumnElement[int] = table.c.id
    if leading is not None and leading.lookup is not None:
        number = leading.lookup.c.record_id
    asked = [term.asked(number) for term in others if term not in merged]
    if leading is not None and leading.sorts and connection.dialect.name == "sqlite":
        number = _set_aside(number)  # else it would walk along the numbers, which needs no sorting
    query = sa.select(number.label("id")).where(rows, *asked)
    if leading is not None:
        query = query.where(leading.leads)
        if leading.lookup is not None:
            query = query.join_from(leading.lookup, table, table.c.id == leading.lookup.c.record_id)
    if merged:
        return sa.intersect(query, *map(_all_of, merged)).order_by(sa.desc("id")).limit(MAX_TOTAL)
    return query.order_by(number.desc()).limit(MAX_TOTAL)


def _all_of(term: _Condition) -> sa.Select[Any]:
    """All numbers that a look-up leads to."""
    assert term.lookup is not None, "only look-ups are merged"
    return sa.select(term.lookup.c.record_id.label("id")).where(term.leads)


def _set_aside(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A column that no index is taken for."""
    return sa.UnaryExpression(column, operator=custom_op("+"), type_=column.type)


_Numbers = sa.Select[Any] | sa.CompoundSelect[Any]

Asked = Callable[[sa.ColumnElement[int]], sa.ColumnElement[bool]]
"""What is asked of a row, given the column that has its number: the leading one, so that no row is read for it."""


class _Condition(NamedTuple):
    """A term of a query in two forms: as what leads to the rows, and as what is asked of rows that another brings.

    `cost` tells how many rows it leads to; infinite where it cannot lead. `lookup` is the table that leads, where it is
    not the searched one; `sorts` where what it leads to is not in the order of the numbers. A look-up `merges` where it
    has many rows, in the order of the numbers, and SQLite had better walk along them beside another one's.
    """

    leads: sa.ColumnElement[bool]
    asked: Asked
    cost: float
    lookup: sa.FromClause | None = None
    sorts: bool = False
    merges: bool = False


_ROWS: dict[Searched, tuple[sa.Table, sa.ColumnElement[bool]]] = {
    Searched.CONTACTS: (contacts, sa.text(SEARCHED_CONTACTS)),  # type: ignore[dict-item]
    Searched.TICKETS: (tickets, sa.text(SEARCHED_TICKETS)),  # type: ignore[dict-item]
    Searched.COMPANIES: (companies, sa.true()),
}
"""The table of what is searched, and which of its rows."""

_COLUMNS: dict[Searched, dict[str, sa.Column[Any]]] = {
    Searched.CONTACTS: {
        name: contacts.c[name]
        for name in ("active", "company_id", "language", "time_zone", "created_at", "updated_at")
    },
    Searched.TICKETS: {
        "agent_id": tickets.c.responder_id,
        **{
            name: tickets.c[name]
            for name in (
                *("group_id", "priority", "status", "type"),
                *("due_by", "fr_due_by", "created_at", "updated_at"),
            )
        },
    },
    Searched.COMPANIES: {name: companies.c[name] for name in ("created_at", "updated_at")},
}
"""The fields that are columns."""


_LEAD_IN_ORDER = (
    "agent_id",
    "company_id",
    "group_id",
    "time_zone",
    "type",
    "language",
    "priority",
    "status",
    "active",
)
"""Columns with an index that ends in the number and holds all the others: those that usually tell most apart first."""


def _rank(field: str | None) -> int:
    """The cost of a field that leads to more rows than are counted; of a look-up without one, behind all columns."""
    return MAX_SORTED + (_LEAD_IN_ORDER.index(field) if field else len(_LEAD_IN_ORDER))


class _Terms:
    """Terms as conditions on the rows of what is searched."""

    def __init__(self, connection: sa.Connection, searched: Searched, region: str | None) -> None:
        self._connection = connection
        self._searched = searched
        self._region = region
        self._gathers = connection.dialect.name == "sqlite"  # PostgreSQL finds by itself what to gather
        self._table, self._rows = _ROWS[searched]
        self._known: dict[tuple[Query, ...], _Condition] = {}
        self._special: Mapping[str, Callable[[Term], _Condition]] = {
            "tag": self._tagged,
            "email": self._identified,
            "twitter_id": self._identified,
            "phone": self._numbered,
            "mobile": self._numbered,
            "domain": self._of_domain,
        }

    def all_of(self, queries: Iterable[Query]) -> list[_Condition]:
        """Parts of a query that hold together, as conditions; the two ends of a range are one."""
        together: dict[object, tuple[Query, ...]] = {}
        for query in queries:
            ranged = (
                isinstance(query, Term) and query.field in _COLUMNS[self._searched] and query.kind in RANGED
            )
            place = query.field if ranged and isinstance(query, Term) else query
            together[place] = (*together.get(place, ()), query)
        return [self._of(*parts) for parts in together.values()]

    def _of(self, *parts: Query) -> _Condition:
        """A part, or the terms of one range, as a condition; it may stand in several alternatives."""
        if parts not in self._known:
            self._known[parts] = self._made(*parts)
        return self._known[parts]

    def _made(self, first: Query, *rest: Query) -> _Condition:
        match first:
            case AllOf(parts) | AnyOf(parts):  # which cannot lead
                join = sa.and_ if isinstance(first, AllOf) else sa.or_
                conditions = [self._of(part) for part in parts]
                return self._asked_only(lambda number: join(*(each.asked(number) for each in conditions)))
            case Term():
                return self._term(first, *rest)

    def _term(self, term: Term, *rest: Query) -> _Condition:
        if term.field in _COLUMNS[self._searched]:
            return self._compared(term, *(each for each in rest if isinstance(each, Term)))
        if term.field.startswith(PREFIX):
            return self._custom(term)
        return self._special[term.field](term)

    def _compared(self, *terms: Term) -> _Condition:
        """Terms of one field that is a column."""
        field = terms[0].field
        column = _COLUMNS[self._searched][field]
        leads = sa.and_(*(_compare(column, term) for term in terms))
        asked = sa.and_(*(_compare(self._only_asked(column), term) for term in terms))
        in_order = field in _LEAD_IN_ORDER and any(term.comparison is Comparison.EQUAL for term in terms)
        most = MAX_TOTAL if in_order else MAX_SORTED
        count = self._count(sa.select(self._table.c.id).where(self._rows, leads), most)
        if count < most:
            return _Condition(leads, lambda _: asked, count, sorts=not in_order)
        return _Condition(leads, lambda _: asked, _rank(field) if in_order else math.inf)

    def _asked_only(self, asked: Asked) -> _Condition:
        """What cannot lead."""
        return _Condition(asked(self._table.c.id), asked, math.inf)

    def _only_asked(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """A column that is only asked: SQLite does not know how many rows have a value, and might let it lead."""
        return _set_aside(column) if self._connection.dialect.name == "sqlite" else column

    def _count(self, query: sa.Select[tuple[int]], most: int) -> int:
        """How many rows there are, counted up to `most`."""
        count = sa.select(sa.func.count()).select_from(query.limit(most).subquery())
        return self._connection.scalar(count) or 0

    def _looked_up(
        self, lookup: sa.Table, *conditions: Callable[[sa.FromClause], sa.ColumnElement[bool]]
    ) -> _Condition:
        """What holds for a row that a look-up has under these conditions."""
        leading, asked = lookup.alias(), lookup.alias()
        leads = sa.and_(*(condition(leading) for condition in conditions))
        holds = [condition(asked) for condition in conditions]
        most = MAX_GATHERED if self._gathers else MAX_TOTAL
        count = self._count(sa.select(leading.c.record_id).where(leads), most)
        cost = count if count < MAX_TOTAL else _rank(None) + count / most
        if count == most:
            exists = partial(self._exists, asked, holds)
            return _Condition(leads, exists, cost, leading, merges=self._gathers)
        gathered = sa.select(asked.c.record_id).where(*holds)
        return _Condition(leads, lambda number: self._only_asked(number).in_(gathered), cost, leading)

    def _tagged(self, term: Term) -> _Condition:
        if term.value is None:
            return self._without(record_tags, lambda tags: tags.c.object == self._searched)
        key = tag_key(str(term.value))
        return self._looked_up(
            record_tags, lambda tags: tags.c.object == self._searched, lambda tags: tags.c.tag_key == key
        )

    def _custom(self, term: Term) -> _Condition:
        def is_ours(values: sa.FromClause) -> sa.ColumnElement[bool]:
            return sa.and_(values.c.object == self._searched, values.c.name == term.field)

        if term.value is None:
            return self._without(custom_values, is_ours)
        value = format_moment(int(term.value))[:10] if term.kind is Kind.DATE else term.value
        compared = searched_value(value)
        found = self._looked_up(
            custom_values, is_ours, lambda values: _SIGNS[term.comparison](values.c.value, compared)
        )
        if term.comparison is not Comparison.EQUAL and found.cost >= MAX_TOTAL:
            return found._replace(
                cost=math.inf, merges=False
            )  # its rows do not come in the order of their numbers
        return found

    def _without(
        self, lookup: sa.Table, condition: Callable[[sa.FromClause], sa.ColumnElement[bool]]
    ) -> _Condition:
        asked = lookup.alias()
        return self._asked_only(lambda number: sa.not_(self._exists(asked, [condition(asked)], number)))

    def _exists(
        self,
        lookup: sa.FromClause,
        conditions: Sequence[sa.ColumnElement[bool]],
        number: sa.ColumnElement[int],
    ) -> sa.ColumnElement[bool]:
        """Whether a look-up has the row. Only its number is read: with more, SQLite would take a worse index."""
        found = sa.select(lookup.c.record_id).where(lookup.c.record_id == number, *conditions)
        return sa.exists(found.correlate_except(lookup))

    def _identified(self, term: Term) -> _Condition:
        if term.value is None:
            return self._nobody(term)
        key = (email_key if term.field == "email" else twitter_key)(_unescaped(str(term.value)))
        return self._held_by(
            self._connection.scalars(sa.select(identifiers.c.contact_id).where(identifiers.c.key == key))
        )

    def _numbered(self, term: Term) -> _Condition:
        if term.value is None:
            return self._nobody(term)
        number = _unescaped(str(term.value))
        return self._held_by(select_numbered(self._connection, term.field, number, self._region))

    def _held_by(self, holders: Iterable[int]) -> _Condition:
        """The contacts that stand for these."""
        survivors = set(select_survivors(self._connection, holders).values())
        condition = self._table.c.id.in_(survivors)
        return _Condition(condition, lambda _: condition, len(survivors))

    def _nobody(self, term: Term) -> _Condition:
        column = self._table.c[term.field]
        condition = column.is_(None)
        count = self._count(sa.select(self._table.c.id).where(self._rows, condition), MAX_TOTAL)
        return _Condition(condition, lambda _: condition, count if count < MAX_TOTAL else math.inf)

    def _of_domain(self, term: Term) -> _Condition:
        if term.value is None:
            missing = sa.not_(sa.exists().where(company_domains.c.company_id == self._table.c.id))
            return self._asked_only(lambda _: missing)
        owners = sa.select(company_domains.c.company_id).where(
            company_domains.c.domain == str(term.value).strip().lower()
        )
        condition = self._table.c.id.in_(owners)
        return _Condition(condition, lambda _: condition, 1)


_SIGNS: dict[Comparison, Callable[[sa.ColumnElement[Any], Any], sa.ColumnElement[bool]]] = {
    Comparison.EQUAL: lambda column, value: column == value,
    Comparison.AT_LEAST: lambda column, value: column >= value,
    Comparison.AT_MOST: lambda column, value: column <= value,
}


def _compare(column: sa.ColumnElement[Any], term: Term) -> sa.ColumnElement[bool]:
    if term.value is None:
        return column.is_(None)
    if term.kind is Kind.BOOLEAN:
        return column if term.value else sa.not_(column)
    if term.kind is not Kind.DATE:
        return _SIGNS[term.comparison](column, term.value)
    begins, ends = int(term.value), int(term.value) + DAY
    match term.comparison:
        case Comparison.AT_LEAST:
            return column >= begins
        case Comparison.AT_MOST:
            return column < ends
    return sa.and_(column >= begins, column < ends)


def _unescaped(value: str) -> str:
    """An address or a number whose + was not escaped in the URL, and so arrived as a space."""
    return value.replace(" ", "+") if value.startswith(" ") or "@" in value else value
