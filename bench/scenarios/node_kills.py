"""Nodes of a cluster killed, again and again."""

import os
import re
import subprocess
import sys
import time

from bench.places import ROOT
from bench.report import Outcome

TESTS = "tests/faults/test_cassandra.py"


def node_kills(outcome: Outcome) -> None:
    """The node-kill tests ten times in a row, on three Cassandra nodes and a PostgreSQL that are started for it.

    Under load one node is killed and comes back, one is cut off (stopped in its tracks), then two of three are killed:
    no failed read or publish with one away, not one 200 with two away, nothing that was answered 200 is lost.

    Target: all rounds pass.
    """
    rounds = 1 if outcome.quick else 10
    outcome.sizes = {"rounds": rounds, "nodes": 3}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--keep-duplicates", *[TESTS] * rounds],
        cwd=ROOT,
        env={**os.environ, "CI": "true"},  # a missing server is a failure here
        capture_output=True,
        text=True,
        check=False,
    )
    passed = re.search(r"(\d+) passed", done.stdout)
    outcome.figure("tests passed", int(passed[1]) if passed else 0, "tests")
    outcome.figure("a round", (time.monotonic() - began) / rounds, "s")
    outcome.check("rounds with a failure", float(done.returncode != 0), "", most=0)
    if done.returncode != 0:
        outcome.failures.append(done.stdout[-4_000:])
