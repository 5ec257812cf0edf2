"""Runs the example as the README does."""

import asyncio
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "example.py"


async def test_the_warehouse_has_what_the_shop_did_not_ship_or_cancel(server, tmp_path):
    for run in (1, 2):
        process = await asyncio.create_subprocess_exec(
            sys.executable, EXAMPLE, server.target, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
        )
        told = (await process.communicate())[0].decode()
        assert process.returncode == 0
        assert "refused: ORDER_NOT_CANCELLABLE" in told
        assert "Ann Müller ordered for 25 EUR" in told
        assert f"{3 * run} orders of ann" in told
        assert told.count("to pack: ") == run, "it goes on where it was"
