"""Nodes that let somebody wait are asked last, for a while."""

from __future__ import annotations

from backstory.store.log.cassandra_nodes import SUSPECT_SECONDS, Suspects

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def plan(suspects: Suspects) -> list[str]:
    return list(suspects.last(iter([A, B, C])))


def test_who_answers_at_once_is_no_suspect() -> None:
    suspects = Suspects()
    suspects.note([A], A)
    assert plan(suspects) == [A, B, C]


def test_who_was_silent_until_another_had_answered_is_asked_last_for_a_while() -> None:
    clock = Clock()
    suspects = Suspects(clock)
    suspects.note([A, B], B)
    assert plan(suspects) == [B, C, A]
    clock.now += SUSPECT_SECONDS / 2
    assert plan(suspects) == [B, C, A]
    clock.now += SUSPECT_SECONDS / 2
    assert plan(suspects) == [A, B, C]


def test_who_answers_late_is_not_a_suspect_and_neither_is_who_was_asked_meanwhile() -> None:
    suspects = Suspects()
    suspects.note([A, B], A)
    assert plan(suspects) == [A, B, C]


def test_where_nobody_answered_all_that_were_asked_are_suspects_and_are_asked_all_the_same() -> None:
    suspects = Suspects()
    suspects.note([A, B], None)
    assert plan(suspects) == [C, A, B]
    suspects.note([C], None)
    assert plan(suspects) == [A, B, C]
