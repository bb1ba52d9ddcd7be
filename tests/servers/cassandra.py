"""A real Cassandra for tests: three nodes on 127.0.0.1, .2 and .3, from its published Java artifacts.

What takes long is prepared once and kept in a cache folder: the artifacts that Maven brings, and an archive of the
classes that a node loads, which cuts its start by a third. The data begins afresh with every session; each test has a
keyspace of its own. A write is answered when it is synced to the disk (`commitlog_sync: group`), so kill -9 is fair.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cassandra import AuthenticationFailed, Unavailable
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import WhiteListRoundRobinPolicy

from tests.servers.programs import free_port, missing
from tests.support import wait_until

POM = Path(__file__).with_name("cassandra.pom.xml")
JAVA = (11, 17)
START_SECONDS = 90
USER, PASSWORD = "backstory", "correct horse battery"
FIRST_USER = "cassandra"  # a new cluster's own; its password is its name
KEYSPACE = "backstory_tests"
"""Of all tests that keep to an installation of their own in it: to make one takes ten seconds."""

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")

_counter = itertools.count(1)

_OPENS = """
java.base/java.io java.base/java.lang java.base/java.lang.module java.base/java.lang.reflect java.base/java.math
java.base/java.net java.base/java.nio java.base/java.util java.base/java.util.concurrent
java.base/java.util.concurrent.atomic java.base/jdk.internal.loader java.base/jdk.internal.math
java.base/jdk.internal.module java.base/jdk.internal.ref java.base/jdk.internal.reflect
java.base/jdk.internal.util.jar java.base/sun.nio.ch jdk.management/com.sun.management.internal
""".split()
_EXPORTS = """
java.base/java.lang.ref java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch
java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server
java.sql/java.sql jdk.unsupported/sun.misc
""".split()

_LOGBACK = """<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder>
<pattern>%date %-5level %logger{20} %msg%n</pattern></encoder></appender>
<root level="INFO"><appender-ref ref="out"/></root></configuration>
"""


@cache
def java() -> Path | None:
    """A Java that Cassandra 5.0 runs on; None where there is none."""
    candidates = [Path(os.environ["JAVA_HOME"]) / "bin" / "java"] if os.environ.get("JAVA_HOME") else []
    if found := shutil.which("java"):
        candidates.append(Path(found))
    candidates += sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    return next((each for each in candidates if each.exists() and _java_version(each) in JAVA), None)


def _java_version(program: Path) -> int:
    told = subprocess.run([program, "-version"], capture_output=True, text=True).stderr
    number = re.search(r'version "(\d+)', told)
    return int(number[1]) if number else 0


class Program:
    """Cassandra itself, prepared: where its artifacts are, and how a node's command begins."""

    def __init__(self) -> None:
        program = java()
        if program is None:
            missing("Cassandra needs Java 17: apt install openjdk-17-jre-headless")
        self._java = program
        version = subprocess.run([program, "-version"], capture_output=True).stderr
        name = hashlib.sha256(POM.read_bytes() + version).hexdigest()[:12]
        cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._folder = cache_home / "backstory" / f"cassandra-{name}"
        self._libraries = self._folder / "lib"
        self._classes = self._folder / "classes.jsa"
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._libraries.exists():
                self._fetch()
            if not self._classes.exists():
                self._archive_classes()

    def _fetch(self) -> None:
        maven = shutil.which("mvn")
        if maven is None:
            missing("Cassandra's artifacts are brought by Maven: apt install maven")
        into = self._folder / "fetching"
        shutil.rmtree(into, ignore_errors=True)
        done = subprocess.run(
            [maven, "-B", "-q", "-f", POM, "dependency:copy-dependencies", f"-DoutputDirectory={into}"],
            capture_output=True,
            text=True,
            timeout=600,
            env={**os.environ, "JAVA_HOME": str(self._java.resolve().parent.parent)},
        )
        if done.returncode != 0:
            missing(f"Maven could not bring Cassandra: {done.stdout[-2000:]}{done.stderr[-500:]}")
        into.rename(self._libraries)

    def _archive_classes(self) -> None:
        """Start and stop a node alone, and keep what it loaded."""
        making = self._folder / "classes.new"
        making.unlink(missing_ok=True)
        directory = Path(tempfile.mkdtemp(prefix="backstory-cassandra-"))
        node = Node(self, directory, 1, HOSTS[0], (free_port(), free_port()))
        try:
            node.start(f"-XX:ArchiveClassesAtExit={making}")
            node.stop()
            making.rename(self._classes)
        finally:
            node.kill()
            shutil.rmtree(directory, ignore_errors=True)

    def command(self, *options: str) -> list[str]:
        """A node's command."""
        archive = [f"-XX:SharedArchiveFile={self._classes}"] if self._classes.exists() else []
        return [
            *("setpriv", "--pdeathsig", "KILL", "--", str(self._java), "-cp", f"{self._libraries}/*"),
            *("-Xms128m", "-Xmx512m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *("-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError", "-Djdk.attach.allowAttachSelf=true"),
            *(part for each in _OPENS for part in ("--add-opens", f"{each}=ALL-UNNAMED")),
            *(part for each in _EXPORTS for part in ("--add-exports", f"{each}=ALL-UNNAMED")),
            *archive,
            *options,
            "org.apache.cassandra.service.CassandraDaemon",
        ]


class Node:
    """One node: a folder, an address, a process."""

    def __init__(
        self,
        program: Program,
        directory: Path,
        number: int,
        host: str,
        ports: tuple[int, int],
        copies: int = 3,
    ) -> None:
        """`copies` is how many nodes have the users and their passwords."""
        self.host = host
        self._copies = copies
        self.directory = directory / f"node{number}"
        self.port = ports[1]
        self.process: subprocess.Popen[bytes] | None = None
        self._program = program
        self.directory.mkdir()
        (self.directory / "logback.xml").write_text(_LOGBACK)
        (self.directory / "cassandra.yaml").write_text(_configuration(self.directory, number, host, ports))

    @property
    def log(self) -> Path:
        """What the node says."""
        return self.directory / "log"

    def start(self, *options: str) -> None:
        """Start it, and return when it takes connections."""
        own = (
            f"-Dcassandra.config=file://{self.directory}/cassandra.yaml",
            f"-Dlogback.configurationFile=file:{self.directory}/logback.xml",
            f"-Dcassandra.storagedir={self.directory}",
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.ring_delay_ms=100",
            "-Dcassandra.superuser_setup_delay_ms=500",
            f"-Dcassandra.system_auth.default_rf={self._copies}",
        )
        command = self._program.command(*own, *options)
        self._begin(command)

        def is_up() -> bool:
            if self._found_nobody():
                self._begin(command)
            return self._listens()

        wait_until(is_up, seconds=START_SECONDS, what=f"the start of Cassandra on {self.host}")

    def _begin(self, command: list[str]) -> None:
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,  # Ctrl-C is the tests' business
            )

    def _found_nobody(self) -> bool:
        """Whether it has ended because the others did not answer it within a second, as on a busy machine."""
        assert self.process is not None
        return self.process.poll() is not None and "Unable to gossip with any peers" in self.log.read_text()

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        with contextlib.suppress(OSError):
            socket.create_connection((self.host, self.port), 1).close()
            return True
        return False

    @property
    def is_running(self) -> bool:
        """Whether it was started and not ended since."""
        return self.process is not None

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=60)
            self.process = None

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=60)
            self.process = None

    def pause(self) -> None:
        """Stop it in its tracks: its connections stay, nothing answers, as if the network were cut."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)


def _configuration(directory: Path, number: int, host: str, ports: tuple[int, int]) -> str:
    token = (number - 2) * (2**64 // 3)
    return f"""
cluster_name: backstory tests
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
num_tokens: 1
initial_token: "{token}"
auto_bootstrap: false
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "{HOSTS[0]}:{ports[0]}"}}]
listen_address: {host}
rpc_address: {host}
storage_port: {ports[0]}
native_transport_port: {ports[1]}
start_native_transport: true
endpoint_snitch: SimpleSnitch
data_file_directories: ["{directory}/data"]
commitlog_directory: "{directory}/commitlog"
hints_directory: "{directory}/hints"
saved_caches_directory: "{directory}/caches"
# What was answered is on the disk.
commitlog_sync: group
commitlog_sync_group_window: 1ms
commitlog_segment_size: 16MiB
commitlog_total_space: 256MiB
memtable_heap_space: 64MiB
memtable_offheap_space: 64MiB
paxos_variant: v2
auto_snapshot: false
hints_flush_period: 1s
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
roles_validity: 600s
permissions_validity: 600s
"""


class CassandraCluster:
    """Three nodes, or fewer. The user `backstory` may do everything."""

    def __init__(self, nodes: int = 3, *options: str) -> None:
        """`options` are Java's."""
        self._options = options
        program = Program()
        self.directory = Path(tempfile.mkdtemp(prefix="backstory-cassandra-"))
        ports = _ports()
        self.port = ports[1]
        self.nodes = [
            Node(program, self.directory, number, host, ports, nodes)
            for number, host in enumerate(HOSTS[:nodes], 1)
        ]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The nodes' addresses."""
        return tuple(node.host for node in self.nodes)

    def start(self) -> CassandraCluster:
        """Start the nodes one after another, and return when the user can log in."""
        for node in self.nodes:
            node.start(*self._options)
        with self._first_session() as session:
            session.execute(
                f"CREATE ROLE IF NOT EXISTS {USER} WITH PASSWORD = '{PASSWORD}'"
                " AND LOGIN = true AND SUPERUSER = true"
            )
        with self.session():
            return self

    @contextlib.contextmanager
    def _first_session(self) -> Iterator[Session]:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with self.session(FIRST_USER, FIRST_USER) as session:
                    yield session
                    return
            except (NoHostAvailable, AuthenticationFailed, Unavailable):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)  # the first user is made a moment after the start

    @contextlib.contextmanager
    def session(self, user: str = USER, password: str = PASSWORD, *hosts: str) -> Iterator[Session]:
        """A connection, to some hosts or to all."""
        cluster = Cluster(
            hosts or self.hosts,
            self.port,
            auth_provider=PlainTextAuthProvider(user, password),
            protocol_version=5,
        )
        try:
            yield cluster.connect()
        finally:
            cluster.shutdown()

    @contextlib.contextmanager
    def session_of(self, node: Node) -> Iterator[Session]:
        """A connection to one node alone."""
        cluster = Cluster(
            [node.host],
            self.port,
            auth_provider=PlainTextAuthProvider(USER, PASSWORD),
            protocol_version=5,
            execution_profiles={
                EXEC_PROFILE_DEFAULT: ExecutionProfile(WhiteListRoundRobinPolicy([node.host]))
            },
        )
        try:
            yield cluster.connect()
        finally:
            cluster.shutdown()

    def new_keyspace(self) -> str:
        """A name that no keyspace has."""
        return f"backstory_{next(_counter)}"

    def url(self, keyspace: str, *, user: str = USER, password: str = PASSWORD, options: str = "") -> str:
        """A BACKSTORY_ACTIVITY_LOG."""
        hosts = ",".join(f"{host}:{self.port}" for host in self.hosts)
        return f"cassandra://{user}:{password.replace(' ', '%20')}@{hosts}/{keyspace}{options}"

    def new_installation(self) -> str:
        """A BACKSTORY_ACTIVITY_LOG of an empty installation, in the keyspace that they share."""
        return self.url(KEYSPACE, options=f"?installation={self.new_keyspace()}")

    def heal(self) -> None:
        """All nodes run and take connections."""
        for node in self.nodes:
            node.resume()
            if not node.is_running:
                node.start()

    def remove(self) -> None:
        """End the nodes and take everything away."""
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def _ports() -> tuple[int, int]:
    """Two ports that are free on every address: between the nodes, and for clients."""
    found: list[int] = []
    while len(found) < 2:
        port = free_port()
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for host in HOSTS:
                stack.enter_context(socket.socket()).bind((host, port))
            if port not in found:
                found.append(port)
    return found[0], found[1]
