"""Installs the client into a project elsewhere, which runs the order board."""

import asyncio
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from server import ROOT

CLIENT = Path(__file__).parents[1]


def accept_interrupts() -> None:
    """Undoes that a shell ignores Ctrl-C for what runs in the background, as these tests may."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.timeout(300)
async def test_a_project_elsewhere_installs_the_client_and_runs_the_order_board(server, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(CLIENT / "board.py", project)
    python = project / "venv" / "bin" / "python"
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    constraints = ["--constraint", CLIENT / "constraints.txt"]
    for command in (
        [sys.executable, "-m", "venv", "venv"],
        [python, *install, *constraints, CLIENT],
    ):
        await asyncio.to_thread(subprocess.run, command, check=True, cwd=project)
    for run in (1, 2):
        board = await asyncio.create_subprocess_exec(
            python,
            "board.py",
            server.target,
            cwd=project,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=accept_interrupts,
        )
        try:
            async with asyncio.timeout(60):
                created = (await board.stdout.readline()).decode()
                shipped = (await board.stdout.readline()).decode()
        finally:
            board.send_signal(signal.SIGINT)
            rest = (await board.communicate())[0]
        assert created.endswith(" created: 25 EUR\n")
        assert shipped == created.replace("created: 25 EUR", "shipped: T-4711")
        assert (rest, board.returncode) == (b"", 0), f"run {run}"


def test_the_version_is_the_contracts():
    contract = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    client = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    assert (client["version"], client["license"]) == (contract["version"], contract["license"])
