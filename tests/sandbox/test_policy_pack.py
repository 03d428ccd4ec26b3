"""Policy packs start with the sandbox's engine: a mandatory rule stops a preview, an advisory one only speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.organization import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.live import Sandbox

pytestmark = pytest.mark.sandbox

PACK = """\
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

def no_vpc(args, report):
    if args.resource_type == "aws:ec2/vpc:Vpc":
        report(f"saw the network {args.props['cidrBlock']}")

PolicyPack("trial", policies=[ResourceValidationPolicy(
    name="no-vpc", description="tells of networks", validate=no_vpc, enforcement_level=EnforcementLevel.LEVEL)])
"""


@pytest.mark.parametrize(("level", "fails"), [("MANDATORY", True), ("ADVISORY", False)])
def test_a_pack_judges_the_platforms_program(sandbox: Sandbox, tmp_path: Path, level: str, *, fails: bool) -> None:
    (tmp_path / "PulumiPolicy.yaml").write_text(
        f"runtime: {{name: python, options: {{virtualenv: {PROJECT / '.venv'}}}}}\nmain: .\n"
    )
    (tmp_path / "__main__.py").write_text(PACK.replace("LEVEL", level))
    done = sandbox.pulumi("preview", "--stack", "dev", "--policy-pack", str(tmp_path))
    assert "saw the network 10.41.0.0/16" in done.stdout, done.stdout + done.stderr
    assert (done.returncode != 0) is fails
