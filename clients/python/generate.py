"""Makes the `orders` package from the contract: `python generate.py`."""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
PROTO = HERE.parents[1] / "proto"
WELL_KNOWN = files("grpc_tools") / "_proto"

# Google's own messages come from googleapis-common-protos, which others use too.
sources = sorted(str(file.relative_to(PROTO)) for file in PROTO.glob("orders/**/*.proto"))
out = [f"--{kind}_out={HERE}" for kind in ("python", "pyi", "grpc_python")]
sys.exit(protoc.main(["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", *out, *sources]))
