"""Tickets: what a change of state does, and when one is due."""

from __future__ import annotations

import pytest

from backstory.model.ticket import SERVICE_HOURS, Priority, Status, TicketSource, due_times, enter_status


def test_everything_has_a_name() -> None:
    assert [each.label for each in Status][-2:] == ["Waiting on customer", "Waiting on third party"]
    assert TicketSource.FEEDBACK_WIDGET.label == "Feedback widget"
    assert set(SERVICE_HOURS) == set(Priority)


def test_the_more_it_matters_the_sooner_it_is_due() -> None:
    times = [due_times(priority, 0) for priority in Priority]
    assert times == sorted(times, reverse=True)
    assert all(first < resolved for first, resolved in times)


@pytest.mark.parametrize("before", [None, *Status])
@pytest.mark.parametrize("status", Status)
def test_entering_a_status(status: Status, before: Status | None) -> None:
    stats = enter_status(status, before, 5)
    assert stats["status_updated_at"] == 5
    assert stats["pending_since"] == (5 if status is Status.PENDING else None)
    assert stats["closed_at"] == (5 if status is Status.CLOSED else None)
    was_done = before is not None and before.is_done
    if status.is_done and was_done:
        assert "resolved_at" not in stats  # it was resolved when it was first done
    else:
        assert stats["resolved_at"] == (5 if status.is_done else None)
    assert ("reopened_at" in stats) is (was_done and not status.is_done)
