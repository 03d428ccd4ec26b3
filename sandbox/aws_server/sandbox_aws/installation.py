"""Puts the parts together: loads the records, replaces what MiniStack gets wrong, returns the application to serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ministack.core import hypercorn_compat

from sandbox_aws import (
    autoscaling,
    conditions,
    dispatch,
    ec2,
    ecr,
    eks,
    eks_access,
    iam,
    kms,
    listeners,
    logs,
    organization,
    resources,
    s3,
    ssm,
    state,
    sts,
)
from sandbox_aws.state import RECORDS

if TYPE_CHECKING:
    from pathlib import Path


def install(folder: Path, jobs_port: int) -> listeners.Application:
    """Return the application of both listeners."""
    RECORDS.load(folder / state.RECORDS_FILE)
    for part in (
        organization,
        conditions,
        resources,
        kms,
        sts,
        iam,
        s3,
        ec2,
        autoscaling,
        ecr,
        logs,
        ssm,
        eks,
        eks_access,
        state,
    ):
        part.install()
    hypercorn_compat.install()
    dispatch.install()
    return listeners.Application(jobs_port=jobs_port, saver=state.Saver(folder))
