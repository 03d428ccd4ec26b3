"""A digest of every resource that the programs register for the committed stacks: nothing changes by accident.

`tests/data/registered.json` holds the digests by stack and resource. A changed digest means that an `up` of an unchanged stack file changes
this resource. If you mean it, renew the file with `python -m tests.registered --write`, and say so in CHANGELOG.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from access.resource import Unknown
from config import foundation
from tests.support.program import ALL_STACKS, mock_run, mock_run_of, raw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from access.resource import Resource

RECORD = Path(__file__).parent / "data" / "registered.json"
PROGRAMS = (*ALL_STACKS, foundation.STACK)
WITH_ALARMS = "dev with alarms"
TOPIC = "arn:aws:sns:eu-central-1:222222222222:platform-alarms"
ELSEWHERE = frozenset({"source", "outputs", "urn", "provider_id", "provider_inputs", "property_dependencies"})
"""Fields that `up` does not send, or that another field or resource holds."""


def digests(resources: Sequence[Resource]) -> dict[str, str]:
    """Return twelve hexadecimal digits for each resource, by type and logical name."""
    return {f"{resource.type} {resource.name}": _digest(resource) for resource in resources if resource.custom}


def _digest(resource: Resource) -> str:
    fields = {key: value for key, value in asdict(resource).items() if key not in ELSEWHERE}
    if not resource.ignore_changes:
        del fields["ignore_changes"]
    return hashlib.sha256(json.dumps(fields, sort_keys=True, default=_text).encode()).hexdigest()[:12]


def _text(value: Any) -> str:
    if isinstance(value, Unknown):
        return value.value
    raise TypeError(f"a resource holds {type(value).__name__}")


def resources_with_alarms() -> list[Resource]:
    """Return what dev has in addition if its stack file has a topic for alarms."""
    names = {resource.urn for resource in mock_run("dev").resources}
    run = mock_run_of("dev", raw("dev", alarms={"topic": TOPIC}))
    return [resource for resource in run.resources if resource.urn not in names]


def main() -> None:
    """Compare, or renew the record."""
    parser = argparse.ArgumentParser(prog="python -m tests.registered", description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="renew the record")
    current = {stack: digests(mock_run(stack).resources) for stack in PROGRAMS}
    current[WITH_ALARMS] = digests(resources_with_alarms())
    text = json.dumps(current, indent=1, sort_keys=True) + "\n"
    if parser.parse_args().write:
        RECORD.write_text(text)
    elif RECORD.read_text() != text:
        sys.exit("registered resources differ; `pytest tests/test_registered.py` names them")


if __name__ == "__main__":
    main()
