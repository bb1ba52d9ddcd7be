"""Whether a single activity, such as one that has just arrived, belongs to a narrowed timeline."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from backstory.model.activity import Activity
from backstory.model.page import Filters
from backstory.model.searched import read_searched


class _Typed(Struct):
    type: str


class _Acted(Struct):
    actor: _Typed


_EVERYTHING = Filters()
_ACTED = msgspec.json.Decoder(_Acted)


def matches(activity: Activity, filters: Filters) -> bool:
    """Whether all that is given holds; what a page of the log would have answered."""
    if filters == _EVERYTHING:
        return True
    if filters.since is not None and activity.timestamp < filters.since:
        return False
    if filters.until is not None and activity.timestamp >= filters.until:
        return False
    if filters.actor_type is not None and _ACTED.decode(activity.body).actor.type != filters.actor_type:
        return False
    searched = read_searched(activity.body)
    return (
        (not filters.sources or searched.source in filters.sources)
        and (not filters.types or searched.object_type in filters.types)
        and (filters.name is None or searched.name == filters.name)
        and (filters.ref is None or filters.ref in searched.refs)
        and set(filters.words) <= searched.words
    )
