"""Generates the package `orders` from the contract, whenever pip builds this project."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).parent
PROTO = HERE.parents[1] / "proto"
WELL_KNOWN = files("grpc_tools") / "_proto"


class GenerateHook(BuildHookInterface):
    """A step of the build."""

    def initialize(self, _version: str, _build_data: dict[str, Any]) -> None:
        """Generates the package, but in a source distribution, which has it and no contract."""
        if not PROTO.exists():
            return
        # The package googleapis-common-protos holds Google's own messages.
        sources = sorted(str(it.relative_to(PROTO)) for it in PROTO.glob("orders/**/*.proto"))
        out = [f"--{kind}_out={HERE}" for kind in ("python", "pyi", "grpc_python")]
        if protoc.main(["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", *out, *sources]):
            message = "protoc failed"
            raise RuntimeError(message)
