"""The doctor's look at a cluster: at each node by itself, with what to do where one is not well."""

from __future__ import annotations

import pytest

from backstory.config import read_settings
from backstory.doctor import Finding, examine, look_at_keyspace, look_at_logins
from backstory.store.log.cassandra_look import SeenNode
from backstory.store.log.cassandra_session import SCHEMA_VERSION, read_address
from tests.cli.test_commands import here
from tests.servers.cassandra import KEYSPACE, CassandraCluster
from tests.servers.postgres import PostgresServer
from tests.servers.programs import free_port
from tests.support import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def findings(installation: Installation, activity_log: str) -> list[Finding]:
    """What the doctor finds of an activity log."""
    settings = read_settings({}, database=installation.database_url, activity_log=activity_log)
    return [each for each in examine(settings) if each.what in ("activity log", "clock")][1:]


def states(found: list[Finding]) -> list[str]:
    return [each.state for each in found]


@pytest.fixture
def installation(
    postgres: PostgresServer, fragile_cassandra: CassandraCluster, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    return Installation(
        tmp_path_factory.mktemp("doctor"),
        database_url=postgres.create_database(),
        activity_log=fragile_cassandra.new_installation(),
    )


def test_a_cluster_that_is_well_and_one_that_loses_its_nodes(
    installation: Installation, fragile_cassandra: CassandraCluster
) -> None:
    two, three = fragile_cassandra.nodes[1:]
    found = findings(installation, installation.activity_log)
    assert states(found) == ["ok", "ok"], found
    assert "Cassandra 5.0" in found[0].text
    assert "3 of 3 nodes answer" in found[0].text
    assert f"the keyspace {KEYSPACE} has 3 copies in datacenter1" in found[1].text

    three.kill()  # the others are asked what nodes there are, too: the address may name some only
    address = installation.activity_log.replace(f",{three.host}:{three.port}", "")
    found = findings(installation, address)
    assert states(found) == ["ok", "note", "ok"], found
    assert "2 of 3 nodes answer" in found[0].text
    assert f"{three.host}:{three.port}: no node answers" in found[1].text
    assert "start it, or replace it" in found[1].text

    two.pause()  # it takes a connection, and answers nothing; the third may let nobody in, for that takes two
    found = findings(installation, address)
    assert "bad" in states(found), found
    told = " ".join(each.text for each in found)
    assert f"{two.host}:{two.port}" in told
    assert "503: start them" in told or "can be looked at" in told


def test_the_records_of_a_log_on_a_cluster_are_restored(installation: Installation) -> None:
    dump = installation.directory / "dump"
    done = here(installation, "backup", str(dump))
    assert (done.returncode, "The activity log is not in it" in done.stderr) == (0, True), done.stderr
    key = here(installation, "keys", "list").stdout.splitlines()[-1].split()[0]
    assert here(installation, "keys", "revoke", key).returncode == 0
    done = here(installation, "restore", str(dump))
    assert done.returncode == 0, done.stderr
    assert "The activity log is not in it" in done.stderr
    assert "revoked" in here(installation, "keys", "list").stdout.splitlines()[-1]


def test_what_is_wrong_with_a_keyspace(
    installation: Installation, fragile_cassandra: CassandraCluster
) -> None:
    keyspace = fragile_cassandra.new_keyspace()
    address = fragile_cassandra.url(keyspace)
    found = findings(installation, address)
    assert states(found) == ["ok", "note"], found
    assert "'backstory migrate' (or the next start) makes it" in found[1].text
    with fragile_cassandra.session() as session:
        replication = "{'class': 'NetworkTopologyStrategy', 'datacenter1': 2}"
        session.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
        found = findings(installation, address)
        assert states(found) == ["ok", "note", "note"], found
        assert "has 2 copies in datacenter1: a dead node stops the service" in found[1].text
        assert "no tables" in found[2].text
        session.execute(
            f"CREATE TABLE {keyspace}.log_state (installation text, name text, value text,"
            " position bigint, PRIMARY KEY ((installation, name)))"
        )
        session.execute(
            f"INSERT INTO {keyspace}.log_state (installation, name, value) VALUES ('', 'schema', '99')"
        )
        found = findings(installation, address)
        assert states(found) == ["ok", "note", "bad"], found
        assert "schema 99" in found[2].text
        session.execute(f"DROP KEYSPACE {keyspace}")


def test_a_data_centre_without_copies() -> None:
    seen = SeenNode("5.0.5", "here", None, 0.0, frozenset(), {"there": 3}, str(SCHEMA_VERSION), {})
    found = list(look_at_keyspace(read_address("cassandra://127.0.0.1/b"), seen))
    assert states(found) == ["bad", "ok"], found
    assert "no copies in the data centre here" in found[0].text
    assert states(list(look_at_keyspace(read_address("cassandra://127.0.0.1/b?dc=there"), seen))) == ["ok"]


def test_logins_that_one_node_keeps_alone() -> None:
    seen = SeenNode("5.0.5", "here", None, 0.0, frozenset(), {"here": 3}, str(SCHEMA_VERSION), {"": 1})
    assert list(look_at_logins(read_address("cassandra://127.0.0.1/b"), seen)) == [], "nobody logs in"
    (found,) = look_at_logins(read_address("cassandra://u:p@127.0.0.1/b"), seen)
    assert (found.state, "(system_auth) have 1 copy: a dead node stops" in found.text) == ("note", True), (
        found
    )
    kept = seen._replace(logins={"here": 3, "there": 3})
    assert list(look_at_logins(read_address("cassandra://u:p@127.0.0.1/b"), kept)) == []


def test_who_may_not_in_and_who_is_not_there(
    installation: Installation, fragile_cassandra: CassandraCluster
) -> None:
    (found,) = findings(installation, fragile_cassandra.url(KEYSPACE, password="SECRET"))
    assert (found.state, "the login failed" in found.text, "SECRET" in found.text) == ("bad", True, False)
    mistyped = findings(installation, fragile_cassandra.url(KEYSPACE, options="?dc=datacentre1"))
    assert states(mistyped) == ["ok", "bad"], mistyped
    assert "no data centre datacentre1, but datacenter1: mend ?dc=" in mistyped[1].text
    (found,) = findings(installation, f"cassandra://127.0.0.1:{free_port()}/{KEYSPACE}")
    assert (found.state, "can be looked at" in found.text) == ("bad", True)
