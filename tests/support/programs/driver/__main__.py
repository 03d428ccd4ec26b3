# ruff: noqa: INP001 - a Pulumi project, not a package
"""A program for the driver's faults: some runners of GitLab, which a second creation would double."""

import pulumi
import pulumi_gitlab as gitlab

config = pulumi.Config()
provider = gitlab.Provider("gitlab")
for number in range(config.require_int("runners")):
    runner = gitlab.UserRunner(
        f"runner-{number}",
        runner_type="group_type",
        group_id=1234,
        description=f"runner {number}, {config.get('text') or 'first'}",
        tag_lists=["small"],
        untagged=False,
        maximum_timeout=3600,
        opts=pulumi.ResourceOptions(provider=provider, protect=config.get_bool("protect") or False),
    )
    pulumi.export(f"token-{number}", pulumi.Output.secret(runner.token))
