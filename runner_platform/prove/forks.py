"""Runs the boto3 probe in a process of its own for each attempt, without starting an interpreter each time.

This file is a program: it imports boto3 once, in an empty environment, and forks for each line of standard input, `{"environment",
"argument"}`. The child gets exactly that environment, runs the probe and prints its line. So an attempt costs a fork and not half a
second, and shares nothing with the next one: what it caches ends with it.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import runpy
import signal
import sys
from pathlib import Path

import botocore.loaders
import botocore.session

SECONDS = 180
PROBE = Path(__file__).resolve().parents[2] / "image" / "probes" / "python" / "probe.py"


def warm() -> None:
    """Read boto3's own data files, which say what STS looks like, once for all children: half of what an attempt costs."""
    botocore.session.create_loader = functools.cache(botocore.loaders.create_loader)
    loader = botocore.session.create_loader(None)  # None: no other folder of data files is configured
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
    for kind in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("sts", kind)
    loader.list_available_services("service-2")
    gc.collect()
    gc.freeze()  # what is here already is not looked at, and so not copied, by children


def main() -> None:
    """Answer every line with a line, in order."""
    probe = runpy.run_path(str(PROBE))["main"]
    warm()
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.alarm(SECONDS)
            os.environ.clear()
            os.environ.update(asked["environment"])
            probe([asked["argument"]])
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            problem = {"error": f"the attempt ended with status {status}", "kind": "Crashed"}
            sys.stdout.write(json.dumps(problem) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
