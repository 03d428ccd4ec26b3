"""What the policy pack costs, as a ratio to a pack that does nothing.

Both are real pack processes, asked in alternation with the same requests: this program's resources and thousands made of them under other
names. The yardstick is the SDK's `PolicyPack` with one policy of resources and one of stacks that return at once; a second one has as many
policies as this pack has. Figures are ratios of the time for all `Analyze` calls, and for `AnalyzeStack`: minimum, median, maximum; nothing
fails on a figure. Run: `python -m benchmarks.policy_pack [RESOURCES] [ROUNDS]`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automation.gate.judge import POLICIES
from automation.gate.process import PackProcess
from automation.gate.shown import registered, requests
from automation.rehearsal import rehearse
from config import load, settings
from policies.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from automation.gate.shown import Shown

STACK = "prod"
NOTHING = """\
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy, StackValidationPolicy

def nothing(args, report):
    return None

PolicyPack("nothing", enforcement_level=EnforcementLevel.MANDATORY, policies=[
    *(ResourceValidationPolicy(name=f"resource-{{i}}", description="nothing", validate=nothing) for i in range({resources})),
    *(StackValidationPolicy(name=f"stack-{{i}}", description="nothing", validate=nothing) for i in range({stacks})),
])
"""


def multiplied(shown: Sequence[Shown], count: int) -> list[Shown]:
    """The program's resources, and as many more of them under other names as `count` asks for; providers stay single."""
    made = list(shown)
    copied = [each for each in shown if not each.type.startswith("pulumi:")]
    while len(made) < count:
        each = copied[len(made) % len(copied)]
        made.append(replace(each, urn=f"{each.urn}-{len(made)}", name=f"{each.name}-{len(made)}"))
    return made


def yardstick(folder: Path, resources: int, stacks: int) -> Path:
    """A pack of policies that do nothing."""
    folder.mkdir()
    (folder / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (folder / "__main__.py").write_text(NOTHING.format(resources=resources, stacks=stacks))
    return folder


def timed(pack: PackProcess, single: Sequence[Any], whole: Any) -> tuple[float, float]:
    """Seconds of all calls for one resource, and of the one for the stack."""
    start = time.monotonic()
    for each in single:
        pack.analyzer.Analyze(each)
    middle = time.monotonic()
    pack.analyzer.AnalyzeStack(whole)
    return middle - start, time.monotonic() - middle


def rounds(
    packs: Mapping[str, PackProcess], shown: list[Shown], count: int
) -> Iterator[dict[str, tuple[float, float]]]:
    """Seconds by pack, a round each; the first round warms up and is left out."""
    single, whole = requests(shown)
    for index in range(count + 1):
        found = {name: timed(pack, single, whole) for name, pack in packs.items()}
        if index:
            yield found


def line(title: str, found: Sequence[dict[str, tuple[float, float]]], against: str, call: int) -> str:
    """One ratio as minimum, median, maximum."""
    ratios = [each["this pack"][call] / each[against][call] for each in found]
    figures = " / ".join(f"{figure:.2f}" for figure in (min(ratios), statistics.median(ratios), max(ratios)))
    seconds = statistics.median(each["this pack"][call] for each in found)
    return f"  {title:28} against {against:32} {figures}   ({seconds * 1000:.0f} ms)"


def main(count: int = 5000, repeats: int = 5) -> None:
    """Measure the program's own resources, then thousands."""
    values = load.raw_of(load.ROOT / f"Pulumi.{STACK}.yaml", settings.PROJECT)
    own = registered(rehearse(STACK).registrations)
    of_resources = sum(each.of_resource is not None for each in RULES)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as running:
        folders = {
            "this pack": POLICIES,
            "two policies that do nothing": yardstick(Path(scratch) / "two", 1, 1),
            "as many that do nothing": yardstick(Path(scratch) / "many", of_resources, len(RULES) - of_resources),
        }
        packs = {
            name: running.enter_context(PackProcess(folder, settings.PROJECT, STACK, values))
            for name, folder in folders.items()
        }
        for shown in (own, multiplied(own, count)):
            print(f"{len(shown)} resources, ratios of {repeats} rounds (minimum / median / maximum):")  # noqa: T201  # a report
            found = list(rounds(packs, shown, repeats))
            for title, call in (("each resource (Analyze)", 0), ("the stack (AnalyzeStack)", 1)):
                for against in list(packs)[1:]:
                    print(line(title, found, against, call))  # noqa: T201  # a report


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
