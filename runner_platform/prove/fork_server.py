"""Program that runs the boto3 probe in a new process for each attempt, without starting a new interpreter.

It imports boto3 once, in an empty environment, and forks for every line of standard input, `{"environment", "argument"}`. The child gets
exactly that environment, runs the probe and prints its line. So an attempt costs a fork instead of half a second, and shares nothing with
the next attempt: a child's caches end with it.
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
    """Read boto3's description of STS once for all children; without it, every attempt would take twice as long."""
    botocore.session.create_loader = functools.cache(botocore.loaders.create_loader)
    loader = botocore.session.create_loader(None)  # None: no other folder of data files is configured
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
    for model in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("sts", model)
    loader.list_available_services("service-2")
    gc.collect()
    gc.freeze()  # children do not scan the present objects, so these stay shared


def main() -> None:
    """Answer every line of standard input with a line."""
    probe = runpy.run_path(str(PROBE))["main"]
    warm()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.alarm(SECONDS)
            os.environ.clear()
            os.environ.update(request["environment"])
            probe([request["argument"]])
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            failure = {"error": f"the attempt ended with status {status}", "kind": "Crashed"}
            sys.stdout.write(json.dumps(failure) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
