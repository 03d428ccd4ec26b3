"""Time of the policy pack, as a ratio to packs whose policies do nothing.

All are real pack processes that get the same requests in alternation: the resources of this program, and those of the same program for a
company with thousands of resources. One yardstick is the SDK's `PolicyPack` with one policy of resources and one of stacks; another has as
many policies as this pack. Prints the ratios for all `Analyze` calls and for `AnalyzeStack` as minimum, median, maximum; never fails on a
figure. Run: `python -m benchmarks.policy_pack [RESOURCES] [ROUNDS]`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import load, settings
from config.capabilities import Level
from policies.rules import RULES
from runner_platform.check.mock_run import run_program
from runner_platform.check.policy_pack import POLICIES, PackProcess, requests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from access.resource import Resource

STACK = "prod"
OWN, BY_PAIR = 237, 31
"""Resources of the program, and of one more account with one more class."""
FIRST_ID = 700000000000
NOTHING = """\
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy, StackValidationPolicy

def nothing(args, report):
    return None

PolicyPack("nothing", enforcement_level=EnforcementLevel.MANDATORY, policies=[
    *(ResourceValidationPolicy(name=f"resource-{{i}}", description="nothing", validate=nothing) for i in range({resources})),
    *(StackValidationPolicy(name=f"stack-{{i}}", description="nothing", validate=nothing) for i in range({stacks})),
])
"""


def company(count: int) -> dict[str, Any]:
    """Settings with which the program registers about `count` resources: more accounts, and a class for every one of them."""
    values = load.raw_of(load.ROOT / f"Pulumi.{STACK}.yaml", settings.PROJECT)
    further = max(0, count - OWN) // BY_PAIR
    template = {**values["runners"]["review"], "concurrent": 1}
    for index in range(further):
        level = (Level.OPEN if index % 2 == 0 else Level.PROTECTED).value
        values["accounts"][f"team{index:03}"] = {"id": f"{FIRST_ID + index}", level: ["ecs", "api-gateway", "state"]}
        values["runners"][f"class{index:03}"] = {**template, "accounts": [f"team{index // 2 * 2:03}"]}
    return values


def yardstick(folder: Path, resources: int, stacks: int) -> Path:
    """A pack with empty policies."""
    folder.mkdir()
    (folder / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (folder / "__main__.py").write_text(NOTHING.format(resources=resources, stacks=stacks))
    return folder


def timed(pack: PackProcess, single: Sequence[Any], whole: Any) -> tuple[float, float]:
    """Seconds of all calls for single resources, and of the call for the stack."""
    start = time.monotonic()
    for request in single:
        pack.analyzer.Analyze(request)
    middle = time.monotonic()
    pack.analyzer.AnalyzeStack(whole)
    return middle - start, time.monotonic() - middle


def rounds(
    packs: Mapping[str, PackProcess], resources: list[Resource], count: int
) -> Iterator[dict[str, tuple[float, float]]]:
    """Seconds by pack, for every round but the first, which warms up."""
    single, whole = requests(resources)
    for index in range(count + 1):
        seconds = {name: timed(pack, single, whole) for name, pack in packs.items()}
        if index:
            yield seconds


def line(title: str, results: Sequence[dict[str, tuple[float, float]]], against: str, call: int) -> str:
    """One ratio as minimum, median, maximum."""
    ratios = [result["this pack"][call] / result[against][call] for result in results]
    figures = " / ".join(f"{figure:.2f}" for figure in (min(ratios), statistics.median(ratios), max(ratios)))
    seconds = statistics.median(result["this pack"][call] for result in results)
    return f"  {title:28} against {against:32} {figures}   ({seconds * 1000:.0f} ms)"


def main(count: int = 5000, repeats: int = 5) -> None:
    """Measure the program's own resources, then thousands."""
    of_resources = sum(rule.of_resource is not None for rule in RULES)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {
            "this pack": POLICIES,
            "two policies that do nothing": yardstick(Path(scratch) / "two", 1, 1),
            "as many that do nothing": yardstick(Path(scratch) / "many", of_resources, len(RULES) - of_resources),
        }
        for values in (company(0), company(count)):
            resources = run_program(STACK, values).resources
            with ExitStack() as running:
                packs = {
                    name: running.enter_context(PackProcess(folder, settings.PROJECT, STACK, values))
                    for name, folder in folders.items()
                }
                print(f"{len(resources)} resources, ratios of {repeats} rounds (minimum / median / maximum):")  # noqa: T201  # a report
                results = list(rounds(packs, resources, repeats))
            for title, call in (("each resource (Analyze)", 0), ("the stack (AnalyzeStack)", 1)):
                for against in list(folders)[1:]:
                    print(line(title, results, against, call))  # noqa: T201  # a report


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
