"""Visitors of the shared server's pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import Installation
from tests.ui.pages import Visitor, signed_in


@pytest.fixture
def visitor(shared_server: Installation) -> Iterator[Visitor]:
    """Somebody who is not signed in."""
    with Visitor(shared_server) as visitor:
        yield visitor


@pytest.fixture
def agent(shared_server: Installation) -> Iterator[Visitor]:
    """An agent who is signed in."""
    with signed_in(shared_server, "agent") as visitor:
        yield visitor


@pytest.fixture
def admin(shared_server: Installation) -> Iterator[Visitor]:
    """An admin who is signed in."""
    with signed_in(shared_server, "admin") as visitor:
        yield visitor
