"""Starts the servers of a trial, each with a log file in the trial's folder."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

POSTGRES_USER = "postgres" if os.getuid() == 0 else None
"""Postgres and PgBouncer refuse to run as root."""


class Processes:
    """The servers of a trial, by name."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder for logs and data."""
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def folder_of(self, name: str, user: str | None) -> Path:
        """Creates a folder for the data of a server that runs as `user`."""
        folder = self.folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        if user:
            shutil.chown(folder, user, user)
        return folder

    def start(
        self, name: str, command: list[object], *, env: dict[str, str], user: str | None = None
    ) -> None:
        """Starts a server. A server that is started again appends to its log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [str(part) for part in command],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"]} | env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=user,
                group=user,
                extra_groups=[] if user else None,
            )

    def check(self) -> None:
        """Raises an error if a server has ended by itself."""
        for name, process in self._running.items():
            if process.poll() is not None:
                message = f"{name} ended with {process.returncode}: see {name}.log"
                raise RuntimeError(message)

    def kill(self, name: str) -> None:
        """Kills a server with SIGKILL."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> None:
        """Ends a server in order, or with SIGKILL after 60 s."""
        process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop_all(self) -> None:
        """Ends the servers, the newest first."""
        for name in reversed(list(self._running)):
            self.stop(name)


def run(command: list[object], env: dict[str, str] | None = None) -> None:
    """Runs a program to its end, which must be a success."""
    parts = [str(part) for part in command]
    env = {"PATH": os.environ["PATH"]} | (env or {})
    done = subprocess.run(parts, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message = f"{' '.join(parts)}: {done.stdout}{done.stderr}"
        raise RuntimeError(message)


def kill_family(pid: int) -> None:
    """Kills a process and its children with SIGKILL, as when a machine loses power."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for victim in [pid, *map(int, children)]:
        # A child of a killed server may end before its turn.
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, 9)
