"""Puts the parts together: loads the records, replaces what MiniStack gets wrong, returns the application to serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ministack.core import hypercorn_compat

from sandbox_aws import (
    asgi,
    conditions,
    dispatch,
    ec2,
    ecr,
    eks,
    eks_access,
    eks_token,
    iam,
    identity,
    kms,
    logs,
    organization,
    persist,
    resources,
    s3,
    unsupported,
)
from sandbox_aws.records import RECORDS

if TYPE_CHECKING:
    from pathlib import Path


def install(state: Path, jobs_port: int) -> asgi.Application:
    """Return the application of both listeners."""
    RECORDS.load(state / persist.RECORDS_FILE)
    for part in (
        organization,
        conditions,
        resources,
        kms,
        identity,
        iam,
        s3,
        ec2,
        ecr,
        logs,
        eks,
        eks_access,
        eks_token,
        unsupported,
        persist,
    ):
        part.install()
    hypercorn_compat.install()
    dispatch.install()
    return asgi.Application(jobs_port=jobs_port, saver=persist.Saver(state))
