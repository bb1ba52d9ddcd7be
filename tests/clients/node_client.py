"""The npm client `freshdesk-api`, driven from here: a process that calls it as it is told to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).parent / "node"


class NodeAnswer(NamedTuple):
    """What the client's callback was given."""

    error: Any
    data: Any
    extra: Any


class NodeClient:
    """The client, with a server's address and a key."""

    def __init__(self, url: str, key: str) -> None:
        self._process = subprocess.Popen(
            ["node", "driver.js", url, key],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._number = 0

    def __call__(self, call: str, *args: Any) -> NodeAnswer:
        """Call a method of the client."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._number += 1
        self._process.stdin.write(json.dumps({"number": self._number, "call": call, "args": args}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["number"] == self._number
        return NodeAnswer(answer["error"], answer.get("data"), answer.get("extra"))

    def good(self, call: str, *args: Any) -> Any:
        """What a call that succeeds is answered."""
        answer = self(call, *args)
        assert answer.error is None, answer.error
        return answer.data

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)


def need_node() -> None:
    """Skip where Node or the client is not installed; with CI=true fail."""
    if shutil.which("node") and (HERE / "node_modules" / "freshdesk-api").is_dir():
        return
    why = "node is not installed, or scripts/test has not installed tests/clients/node"
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
