"""Generates the `orders` package from the contract: `python generate.py`."""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
PROTO = HERE.parents[1] / "proto"
WELL_KNOWN = files("grpc_tools") / "_proto"

# The package googleapis-common-protos holds Google's own messages, and other packages use them too.
sources = sorted(str(file.relative_to(PROTO)) for file in PROTO.glob("orders/**/*.proto"))
out = [f"--{kind}_out={HERE}" for kind in ("python", "pyi", "grpc_python")]
sys.exit(protoc.main(["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", *out, *sources]))
