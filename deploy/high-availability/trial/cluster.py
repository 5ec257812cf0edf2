"""Three database machines on loopback: etcd, Patroni and Postgres, behind HAProxy and PgBouncer."""

import asyncio
import json
import shutil
import time
import urllib.request
from pathlib import Path

from processes import POSTGRES_USER, Processes, kill_family, run

FILES = Path(__file__).parents[1]
MACHINES = {"db1": "127.0.77.1", "db2": "127.0.77.2", "db3": "127.0.77.3"}
BALANCER = "127.0.77.10"
PASSWORD = "of-the-trial"

URLS = {
    "haproxy": f"postgres://orderlog:{PASSWORD}@{BALANCER}:5000/orders_haproxy",
    "hosts": f"postgres://orderlog:{PASSWORD}@"
    + ",".join(f"{address}:5432" for address in MACHINES.values())
    + "/orders_hosts?target_session_attrs=read-write",
    "pgbouncer": f"postgres://orderlog:{PASSWORD}@{BALANCER}:6432/orders_pgbouncer",
}
"""The `--database-url` of each way to the primary. Each way has a database of its own."""

DEADLINE = 180.0
"""The cluster must be whole after this many seconds."""


class Cluster:
    """The database machines, and the way to their primary."""

    def __init__(self, processes: Processes) -> None:
        """Takes the list that the servers are added to."""
        self._processes = processes
        self._folder = processes.folder
        self._binaries = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self._psql = self._binaries / "psql"

    async def start(self) -> None:
        """Starts all servers, and creates the user and the databases of orderlog."""
        for name in ["patroni.yaml", "haproxy.cfg", "pgbouncer.ini"]:
            shutil.copy(FILES / name, self._folder)
        (self._folder / "userlist.txt").write_text(f'"orderlog" "{PASSWORD}"\n')
        for machine in MACHINES:
            self._start("etcd", machine, ["etcd"])
        for machine in MACHINES:
            self.start_database(machine)
        await self.whole()
        primary = f"postgres://postgres:{PASSWORD}@{MACHINES[self.leader()]}/postgres"
        role = f"CREATE ROLE orderlog LOGIN PASSWORD '{PASSWORD}'"
        databases = [f"CREATE DATABASE orders_{name} OWNER orderlog" for name in URLS]
        for sql in [role, *databases]:
            run([self._psql, primary, "-c", sql])
        proxy = ["haproxy", "-db", "-f", "haproxy.cfg"]
        self._processes.start("haproxy", proxy, env={}, user=POSTGRES_USER)
        pooler = ["pgbouncer", "pgbouncer.ini"]
        self._processes.start("pgbouncer", pooler, env={}, user=POSTGRES_USER)
        for url in URLS.values():
            await self._takes_writes(url)

    async def _takes_writes(self, url: str) -> None:
        """Waits until HAProxy has found the primary, so that the nodes start."""
        until = time.monotonic() + DEADLINE
        while True:
            try:
                run([self._psql, url, "-c", "CREATE TEMPORARY TABLE t ()"])
                return
            except RuntimeError:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(0.2)

    def start_database(self, machine: str) -> None:
        """Starts Patroni, which starts Postgres."""
        self._start("patroni", machine, ["patroni", "patroni.yaml"])

    def _start(self, service: str, machine: str, command: list[object]) -> None:
        name = f"{service}-{machine}"
        folder = self._processes.folder_of(name, POSTGRES_USER)
        env = _settings("etcd.env") | _settings(f"{machine}.env")
        env |= {
            "ETCD_DATA_DIR": f"{folder}/data",
            "PATRONI_POSTGRESQL_DATA_DIR": f"{folder}/data",
            "PATRONI_POSTGRESQL_PGPASS": f"{folder}/pgpass",
            "PATRONI_POSTGRESQL_BIN_DIR": str(self._binaries),
            "PATRONI_SUPERUSER_PASSWORD": PASSWORD,
            "PATRONI_REPLICATION_PASSWORD": PASSWORD,
        }
        self._processes.start(name, command, env=env, user=POSTGRES_USER)

    def leader(self) -> str:
        """Returns the machine of the primary."""
        return next(machine for machine in MACHINES if self._is_primary(machine))

    def _is_primary(self, machine: str) -> bool:
        return _answer(machine, "/primary") is not None

    def kill(self, machine: str) -> None:
        """Kills Patroni and Postgres of a machine at once."""
        data = self._folder / f"patroni-{machine}" / "data"
        postmaster = int((data / "postmaster.pid").read_text().split("\n")[0])
        self._processes.kill(f"patroni-{machine}")
        kill_family(postmaster)

    def switch_over(self, machine: str) -> None:
        """Makes the synchronous standby the primary."""
        command = ["patronictl", "-c", self._folder / "patroni.yaml", "switchover", "orders"]
        run([*command, "--leader", machine, "--force"], {"LC_ALL": "C.UTF-8"})

    async def successor(self, of: str) -> str:
        """Waits until another machine than `of` is the primary, and returns it."""
        others = [machine for machine in MACHINES if machine != of]
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            for machine in others:
                if await asyncio.to_thread(self._is_primary, machine):
                    return machine
            await asyncio.sleep(0.05)
        message = f"no machine has taken over from {of}"
        raise TimeoutError(message)

    async def whole(self) -> None:
        """Waits until a primary has a synchronous standby and another standby."""
        until = time.monotonic() + DEADLINE
        while (roles := await asyncio.to_thread(_roles)) != ["leader", "replica", "sync_standby"]:
            self._processes.check()
            if time.monotonic() > until:
                message = f"the cluster is not whole: {roles}"
                raise TimeoutError(message)
            await asyncio.sleep(0.2)


def _roles() -> list[str]:
    """Returns the roles of the machines that run on the newest timeline."""
    for machine in MACHINES:
        if answer := _answer(machine, "/cluster"):
            members = json.loads(answer)["members"]
            newest = max((member.get("timeline", 0) for member in members), default=0)
            return sorted(
                member["role"]
                for member in members
                if member["state"] in ("running", "streaming") and member.get("timeline") == newest
            )
    return []


def _answer(machine: str, path: str) -> bytes | None:
    """Asks Patroni. Returns None unless the answer is 200."""
    try:
        with urllib.request.urlopen(f"http://{MACHINES[machine]}:8008{path}", timeout=1) as reply:
            return reply.read()
    except OSError:
        return None


def _settings(file: str) -> dict[str, str]:
    lines = (FILES / file).read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    return {name: value for name, value in pairs}
