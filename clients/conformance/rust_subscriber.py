"""Shows `examples/subscriber` to the suite, which only follows the log."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from server import PROGRAM

SUBSCRIBER = PROGRAM.parent / "examples" / "subscriber"

OTHER_HISTORY = re.compile(
    r"error: (?P<reason>[A-Z_]+): the log does not have the events"
    r"( up to position (?P<position>\d+))?.* seen(, only those up to position (?P<shared>\d+))?;"
)


def say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


class Warehouse:
    """The file of a subscriber, in a folder of its own."""

    def __init__(self, store: str) -> None:
        self.folder = Path(store)
        self.folder.mkdir(exist_ok=True)
        self._file = self.folder / "warehouse.db"

    def read(self, sql: str) -> list[int]:
        # The subscriber makes the file and its tables.
        with contextlib.suppress(sqlite3.OperationalError):
            opened = sqlite3.connect(f"file:{self._file}?mode=rw", timeout=30, uri=True)
            with contextlib.closing(opened) as connection:
                return [number for (number,) in connection.execute(sql)]
        return []

    def position(self) -> int:
        return next(iter(self.read("SELECT position FROM progress")), 0)

    def seen(self) -> list[int]:
        """Numbers the orders as they came. Each scenario has an order for each event."""
        return self.read("SELECT rowid FROM to_pack ORDER BY rowid")

    def empty(self) -> None:
        """Starts over, as the error of the subscriber says."""
        for file in self.folder.glob("warehouse.db*"):
            file.unlink()


def follow(connection: dict[str, Any], it: dict[str, Any]) -> dict[str, Any]:
    """Runs the subscriber until its file is at a position, or it ends."""
    if it["apply_ms"]:
        return {"unsupported": "it has no transaction that waits"}
    warehouse = Warehouse(it["store"])
    url = f"http://{connection['target']}"
    options = {"cwd": warehouse.folder, "stderr": subprocess.PIPE, "text": True}
    before = -1
    with subprocess.Popen([SUBSCRIBER, url], **options) as process:
        while (position := warehouse.position()) < it["until"] and process.poll() is None:
            if position > max(before, 0):
                say({"progress": {"position": position}})
            before = position
            time.sleep(0.02)
        process.kill()
        told = process.stderr.read()
    if error := OTHER_HISTORY.search(told):
        places = {"position": error["position"], "shared_position": error["shared"]}
        places = {name: value and int(value) for name, value in places.items()}
        return {"error": {"code": "FAILED_PRECONDITION", "reason": error["reason"], **places}}
    return {"ok": {"seen": warehouse.seen(), "position": position}}


def main() -> None:
    connection: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        match request["do"]:
            case "connect":
                connection = request
                say({"ok": {}})
            case "follow":
                say(follow(connection, request))
            case "rewind" if request["position"] == 0:
                Warehouse(request["store"]).empty()
                say({"ok": {}})
            case other:
                say({"unsupported": f"{other}: it only follows the log"})


if __name__ == "__main__":
    main()
