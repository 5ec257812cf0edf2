"""Runs each scenario for each client, and compares the table of results with its page."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from driver import FOLDER, Driver
from server import PROGRAM, ROOT, Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PAGE = ROOT / "docs" / "reference" / "clients.md"

OPENING = """# Conformance of the clients

The [conformance suite](../../clients/conformance) makes this page:
`UPDATE_REFERENCE=1 clients/python/.venv/bin/pytest clients/conformance`. Each scenario runs against
a real server behind a proxy that cuts, holds and delays. `yes` means that it passed, and `-` that
the client does not offer this. For Rust, which has no client library, an
[example](../../examples/conformance) runs them.

"""

COMMANDS = {
    name: [part.replace("{built}", str(PROGRAM.parent)) for part in client["command"]]
    for name, client in tomllib.loads((FOLDER / "drivers.toml").read_text()).items()
}


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    folder = tmp_path / "data"
    folder.mkdir()
    server = Server(folder)
    await server.open()
    yield server
    await server.close()


@pytest.fixture(params=COMMANDS)
def client(request: pytest.FixtureRequest) -> list[str]:
    """The command of a client's driver."""
    return COMMANDS[request.param]


@pytest_asyncio.fixture
async def driver(client: list[str]) -> AsyncIterator[Driver]:
    driver = Driver(client)
    await driver.start()
    try:
        yield driver
        await driver.end()
    finally:
        await driver.kill()


_rows: dict[str, dict[str, str]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Notes the result of a scenario."""
    report = yield
    if report.when == "call" and hasattr(item, "callspec"):
        title = item.function.__doc__.strip().removesuffix(".")
        cell = {"passed": "yes", "skipped": "-"}.get(report.outcome, "no")
        _rows.setdefault(title, {})[item.callspec.params["client"]] = cell
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Compares the page, or writes it, once every scenario has run for every client."""
    if any(len(row) < len(COMMANDS) for row in _rows.values()) or session.testsfailed:
        return
    if session.config.option.keyword or session.config.option.collectonly:
        return
    header = [f"| scenario | {' | '.join(COMMANDS)} |", "|---" * (len(COMMANDS) + 1) + "|"]
    rows = [
        f"| {title} | {' | '.join(row[it] for it in COMMANDS)} |" for title, row in _rows.items()
    ]
    page = OPENING + "\n".join([*header, *rows]) + "\n"
    if os.environ.get("UPDATE_REFERENCE"):
        PAGE.write_text(page)
    elif not PAGE.exists() or PAGE.read_text() != page:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\n{PAGE.name} is not current: UPDATE_REFERENCE=1 writes it")
