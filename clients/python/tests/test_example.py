"""Runs the example as the README does."""

import asyncio
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "example.py"


async def run_example(server, folder):
    process = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLE, server.target, stdout=asyncio.subprocess.PIPE, cwd=folder
    )
    told = (await process.communicate())[0].decode()
    assert process.returncode == 0
    return told


async def test_the_warehouse_has_what_the_shop_did_not_ship_or_cancel(server, tmp_path):
    for run in (1, 2):
        told = await run_example(server, tmp_path)
        assert "refused: ORDER_NOT_CANCELLABLE" in told
        assert "Ann Müller ordered for 25 EUR" in told
        assert f"{3 * run} orders of ann" in told
        assert told.count("to pack: ") == run, "it goes on where it was"


async def test_g12_warehouse_starts_over_when_the_log_went_back(server, tmp_path):
    server.kill()
    server.save_log(tmp_path / "empty")
    await asyncio.to_thread(server.start)
    assert "starting over" not in await run_example(server, tmp_path)
    server.kill()
    server.put_back_log(tmp_path / "empty")
    await asyncio.to_thread(server.start)
    told = await run_example(server, tmp_path)
    assert "starting over: the log went back" in told
    assert told.count("to pack: ") == 1
