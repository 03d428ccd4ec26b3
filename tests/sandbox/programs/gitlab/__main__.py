# ruff: noqa: INP001 - a Pulumi project, not a package
"""A program for the real engine: one runner of GitLab."""

import pulumi
import pulumi_gitlab as gitlab

runner = gitlab.UserRunner(
    "small",
    runner_type="group_type",
    group_id=1234,
    description="small of a test, generation 1",
    tag_lists=["small"],
    untagged=False,
    maximum_timeout=3600,
    opts=pulumi.ResourceOptions(provider=gitlab.Provider("gitlab")),
)
pulumi.export("id", runner.id)
pulumi.export("token", pulumi.Output.secret(runner.token))
