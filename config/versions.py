"""Pinned versions, and until when they are supported.

The versions of chart and cluster are settings (stack files); these are fixed by the program.
"""

from __future__ import annotations

from datetime import date

RUNNER_IMAGE_TAG = "1.0.0"
"""Tag of the runner image and its variants; tags in the registry are immutable."""
HELPER_CHART = (0, 93)
"""Minor version of the chart whose runner, 19.4, the image `<tag>-helper` belongs to. A helper of another version may fail jobs."""
KUBERNETES_SUPPORT_ENDS = {
    "1.33": date(2026, 7, 29),
    "1.34": date(2026, 12, 2),
    "1.35": date(2027, 3, 27),
    "1.36": date(2027, 8, 2),
}
"""End of EKS standard support per minor version, as of November 2026. The oldest is the first whose namespaces are deleted in the order
that `components/runner_class.py` needs. Source: https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html"""
CHART_WITH_NATIVE_SECCOMP = (0, 88, 0)
"""Runner 18.11: `seccomp_profile` in `pod_security_context`."""
CLOUDWATCH_ADDON = "v6.3.0-eksbuild.1"
"""EKS add-on `amazon-cloudwatch-observability`, with alarms only. AWS tried this version on Auto Mode's nodes:
https://github.com/aws-samples/sample-aws-eks-auto-mode/pull/21"""


MACHINE_IMAGE = "/aws/service/canonical/ubuntu/server/24.04/stable/20260901/{arch}/hvm/ebs-gp3/ami-id"
"""Parameter of Canonical's image of Ubuntu 24.04 for machines; the date is the release. `runners` on EC2 roll when it changes. Newer
releases: `aws ssm get-parameters-by-path --path /aws/service/canonical/ubuntu/server/24.04/stable --recursive`.
Source: https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/"""
FLEETING_PLUGIN = "aws:1.1.0"
"""Fleeting plugin of autoscaled instances, which the manager's image holds."""


def minor_version(version: str) -> tuple[int, ...]:
    """Return a version as numbers: `"1.35"` is (1, 35)."""
    return tuple(int(part) for part in version.split("."))


def newest_kubernetes() -> str:
    """Return the newest minor version of `KUBERNETES_SUPPORT_ENDS`."""
    return max(KUBERNETES_SUPPORT_ENDS, key=minor_version)


def oldest_kubernetes() -> str:
    """Return the oldest minor version of `KUBERNETES_SUPPORT_ENDS`."""
    return min(KUBERNETES_SUPPORT_ENDS, key=minor_version)
