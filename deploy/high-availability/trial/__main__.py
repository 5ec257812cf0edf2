"""Fails over between three Postgres servers under load: see docs/guide/high-availability.md."""

import asyncio
import logging
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

from cluster import URLS, Cluster
from load import Load
from processes import Processes, run

COMMANDS = ["127.0.77.11:50051", "127.0.77.12:50051"]
QUERIES = ["127.0.77.21:50051", "127.0.77.22:50051"]

EVENTS = 10
"""Kills, and switchovers, of each way to the primary."""

POOLED_EVENTS = 2
"""Kills, and switchovers, behind PgBouncer."""

COLUMNS = {
    "primary": "new primary",
    "commands": "commands",
    "queries": "queries",
    "fresh": "queries with new events",
    "watch": "orderlog watch",
    "python": "Python subscriber",
}


class Trial:
    """One way to the primary: four nodes of orderlog, and the clients."""

    def __init__(self, program: Path, way: str, processes: Processes, cluster: Cluster) -> None:
        """Starts nothing yet."""
        self._program = program
        self._way = way
        self._processes = processes
        self._cluster = cluster
        folder = processes.folder_of(way, None)
        self._load = Load(program, folder, COMMANDS, QUERIES)

    async def run(self) -> None:
        """Kills and switches over under load, checks the events, and prints the seconds."""
        await self._start_nodes()
        await self._load.run(self._events)
        print(f"{self._way}: {await self._load.check()}")
        for node in QUERIES:
            verify = [self._program, "verify", "--server", f"http://{node}"]
            await asyncio.to_thread(run, verify)
        for node in [*QUERIES, *COMMANDS]:
            self._processes.stop(f"{self._way}-{node}")

    async def _start_nodes(self) -> None:
        events = ",".join(f"http://{node}" for node in COMMANDS)
        of_role = {
            "command": (COMMANDS, ["--database-url", URLS[self._way]]),
            "query": (QUERIES, ["--events-url", events]),
        }
        for role, (nodes, arguments) in of_role.items():
            for node in nodes:
                name = f"{self._way}-{node}"
                metrics = node.replace("50051", "9464")
                serve = [self._program, "serve", "--roles", role, "--listen", node]
                serve += ["--metrics-listen", metrics, *arguments]
                folder = self._processes.folder_of(name, None)
                self._processes.start(name, [*serve, "--data-dir", folder], env={})
        for node in [*COMMANDS, *QUERIES]:
            await self._ready(node)

    async def _ready(self, node: str) -> None:
        status = [self._program, "status", "--ready", "--server", f"http://{node}"]
        async with asyncio.timeout(60):
            while True:
                try:
                    return await asyncio.to_thread(run, status)
                except RuntimeError:
                    self._processes.check()
                await asyncio.sleep(0.2)

    async def _events(self) -> None:
        count = POOLED_EVENTS if self._way == "pgbouncer" else EVENTS
        await self._load.succeeds(time.monotonic())
        for kind, event in [("kill -9", self._kill), ("switchover", self._switch_over)]:
            rows = [await event() for _ in range(count)]
            for name, of in [("median", statistics.median), ("max", max)]:
                cells = [f"{of([row[column] for row in rows]):.1f}" for column in COLUMNS]
                print("|", " | ".join([self._way, f"{kind}, {name} of {count}", *cells]), "|")

    async def _kill(self) -> dict[str, float]:
        machine = await asyncio.to_thread(self._cluster.leader)
        since = time.monotonic()
        self._cluster.kill(machine)
        primary = await self._recovered(machine, since)
        self._cluster.start_database(machine)
        return await self._seconds(since, primary)

    async def _switch_over(self) -> dict[str, float]:
        machine = await asyncio.to_thread(self._cluster.leader)
        since = time.monotonic()
        switching = asyncio.create_task(asyncio.to_thread(self._cluster.switch_over, machine))
        primary = await self._recovered(machine, since)
        await switching
        return await self._seconds(since, primary)

    async def _recovered(self, machine: str, since: float) -> float:
        """Waits until all clients succeed with the successor. Returns its seconds to take over."""
        await self._cluster.successor(machine)
        primary = time.monotonic()
        await self._load.succeeds(primary)
        return primary - since

    async def _seconds(self, since: float, primary: float) -> dict[str, float]:
        """Waits until the cluster can lose a machine again. Returns the seconds of each kind."""
        await self._cluster.whole()
        self._processes.check()
        seconds = {"primary": primary} | self._load.longest_pauses(since)
        print(" ", self._way, {name: round(value, 1) for name, value in seconds.items()})
        return seconds


async def main(program: Path) -> None:
    """Runs the trial of each way to the primary. SIGTERM ends it with all its servers."""
    trial = asyncio.current_task()
    assert trial
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, trial.cancel)
    folder = Path(tempfile.mkdtemp(prefix="orderlog-"))
    folder.chmod(0o755)
    logging.basicConfig(filename=folder / "clients.log")
    processes = Processes(folder)
    try:
        cluster = Cluster(processes)
        await cluster.start()
        print("|", " | ".join(["way", "seconds", *COLUMNS.values()]), "|")
        for way in URLS:
            await Trial(program, way, processes, cluster).run()
    except BaseException:
        print(f"the logs are in {folder}", file=sys.stderr)
        raise
    finally:
        processes.stop_all()
    shutil.rmtree(folder)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).resolve()))
