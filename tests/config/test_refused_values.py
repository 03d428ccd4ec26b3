"""Values that AWS, EKS, GitLab or the runner would refuse are refused before anything is touched, with path, value and remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from config import foundation
from config.partitions import PARTITIONS, REGIONS_WITHOUT_EKS, partition_of, regions, zones_with_eks
from tests.support.case_names import case_name
from tests.support.certificate import certificate
from tests.support.program import ABSENT, complaints, put, raw

if TYPE_CHECKING:
    from collections.abc import Iterable

ROLE = "arn:aws:iam::222222222222:role/"
CLASS = {"level": "open", "cpu": "1", "memory": "2Gi", "disk": "10Gi", "concurrent": 2, "longest_job": "30m"}
OIDC = {"account": "dev", "level": "open", "project": "senncloud/app", "ref": "main"}
EXISTING = {"vpc": "vpc-0a", "private": ["subnet-0a", "subnet-0b"]}


def oidc(**changes: Any) -> dict[str, Any]:
    return {"app": {**OIDC, **changes}}


def access(*cidrs: str) -> dict[str, Any]:
    return {"public_cidrs": list(cidrs)}


REGIONS = [
    ("organization.region", "eu-central-9", "organization", "did you mean 'eu-central-"),
    ("organization.region", "eu-zentral-1", "organization", "did you mean 'eu-central-1'?"),
    ("organization.region", "us-west-3", "organization", "which AWS does not have"),
    ("organization.region", "me-west-1", "organization", "offers no EKS; choose another region"),
    ("organization.region", "eusc-de-east-1", "organization", "in partition 'aws-eusc'"),
    ("organization.region", "eu-central-1a", "organization.region", "write one such as eu-central-1"),
]
NETWORKS = [
    *(
        ("network.cidr", cidr, "network.cidr", f"overlaps {forbidden}")
        for cidr, forbidden in (
            ("0.10.0.0/16", "0.0.0.0/8"),
            ("127.0.0.0/16", "127.0.0.0/8"),
            ("127.77.0.0/18", "127.0.0.0/8"),
            ("169.254.0.0/16", "169.254.0.0/16"),
            ("224.0.0.0/16", "224.0.0.0/4"),
            ("239.255.0.0/20", "224.0.0.0/4"),
            ("240.0.0.0/16", "240.0.0.0/4"),
            ("255.255.0.0/16", "240.0.0.0/4"),
        )
    ),
    ("network.cidr", "0.0.0.0/0", "network.cidr", "is every address"),
    ("network.cidr", "fd00::/48", "network.cidr", "is not an IPv4 network"),
    ("network.cidr", "10.41.0.0", "network.cidr", "is a /32"),
    ("network.cidr", "10.41.0.0/33", "network.cidr", "is not an IPv4 network"),
    ("network.cidr", "x" * 5000, "network.cidr", "is not an IPv4 network"),
    ("network.cidr", "\uff11\uff10.41.0.0/16", "network.cidr", "outside of ASCII"),
    *(
        ("cluster.service_cidr", cidr, "cluster.service_cidr", words)
        for cidr, words in (
            ("100.64.0.0/16", "is outside 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16"),
            ("203.0.113.0/24", "which EKS demands"),
            ("172.32.0.0/16", "which EKS demands"),
            ("198.18.0.0/16", "which EKS demands"),
            ("192.169.0.0/16", "which EKS demands"),
            ("10.0.0.0/11", "/12 to /24"),
            ("10.100.0.0/25", "/12 to /24"),
            ("127.0.0.0/16", "loopback"),
            ("169.254.0.0/20", "link-local"),
            ("224.0.0.0/16", "multicast"),
            ("0.0.0.0/0", "is every address"),
        )
    ),
    *(
        ("network.endpoint_cidrs", [cidr], where, words)
        for cidr, where, words in (
            ("0.0.0.0/0", "network.endpoint_cidrs.0", "is every address"),
            ("169.254.169.254/32", "network.endpoint_cidrs.0", "with the instances' metadata"),
            ("169.254.170.23/32", "network.endpoint_cidrs.0", "with the instances' metadata"),
            ("127.0.0.1/32", "network.endpoint_cidrs.0", "loopback"),
            ("172.20.0.0/16", "network.endpoint_cidrs.0", "overlaps cluster.service_cidr"),
            ("172.20.0.1/32", "network.endpoint_cidrs.0", "where no endpoint is"),
            ("10.0.0.0/8", "network.endpoint_cidrs.0", "larger than a subnet can be"),
            ("10.41.0.0/16", "network.endpoint_cidrs.0", "holds all of network.cidr"),
        )
    ),
    *(
        ("cluster.access", access(cidr), "cluster.access.public_cidrs.0", words)
        for cidr, words in (
            ("10.0.0.0/8", "private addresses, which EKS refuses"),
            ("172.20.0.0/16", "private addresses, which EKS refuses"),
            ("192.168.1.0/24", "or use access: {private"),
            ("100.64.0.0/10", "private addresses"),
            ("169.254.0.0/16", "link-local"),
            ("2001:db8::/32", "is not an IPv4 network"),
            ("203.0.113.7/24", "is not an IPv4 network"),
        )
    ),
    (
        "cluster.access",
        access(*(f"203.0.113.{number}/32" for number in range(41))),
        "cluster.access.public_cidrs",
        "lists 41 networks, and EKS takes 40",
    ),
    (
        "cluster.access",
        access("203.0.113.0/24", "203.0.113.0/24"),
        "cluster.access.public_cidrs",
        "lists '203.0.113.0/24' twice",
    ),
    ("network.endpoint_cidrs", ["10.9.0.0/24"] * 2, "network.endpoint_cidrs", "lists '10.9.0.0/24' twice"),
    (
        "network",
        {"existing": {**EXISTING, "private": ["subnet-0a", "SUBNET-0b"]}},
        "network.existing.private.1",
        "is not a subnet id",
    ),
    ("network", {"existing": {**EXISTING, "private": ["subnet-0a"] * 2}}, "network.existing.private", "twice"),
    (
        "network",
        {"existing": {**EXISTING, "private": ["subnet-0a", "subnet-0b", "subnet-0a"]}},
        "network.existing.private",
        "lists 'subnet-0a' twice",
    ),
]
SIZES = [
    *(
        (f"runners.small.{key}", value, f"runners.small.{key}", words)
        for key, value, words in (
            ("disk", "16Ki", "16Ki is too small for a job; write 1Gi or more"),
            ("disk", "1M", "is too small for a job"),
            ("disk", "1000Ti", "is more than a node's disk can have; write 59000Gi or less"),
            ("disk", "59001Gi", "write 59000Gi or less"),
            ("disk", "20Ti", "makes the disk of a node"),
            ("disk", "\uff110Gi", "is not a quantity of bytes"),
            ("disk", "9" * 5000 + "Gi", "is not a quantity of bytes"),
            ("memory", "16Ki", "is too small for a job; write 64Mi or more"),
            ("memory", "\uff12Gi", "is not a quantity of bytes"),
            ("memory", "\u0662Gi", "is not a quantity of bytes"),
            ("memory", "9" * 5000 + "Mi", "is not a quantity of bytes"),
            ("cpu", "\u0664", "is not a CPU quantity"),
            ("cpu", "\uff11", "is not a CPU quantity"),
            ("cpu", "1m", "1m is too small for a job; write 10m or more"),
            ("cpu", "1.2345", "is not a CPU quantity"),
            ("cpu", "1" * 5000, "is not a CPU quantity"),
            ("longest_job", "\uff11h", "is not a duration"),
            ("longest_job", "1h\u00b2", "is not a duration"),
            ("longest_job", "9" * 5000 + "h", "is not a duration"),
            ("token", 10**20, "write 9999 or less"),
        )
    ),
    ("runners.small.limits", {"cpu": "64", "memory": "9" * 15 + "Ti"}, "runners.small.limits.memory", "or less"),
    ("runners.small.limits", {"cpu": "9" * 9, "memory": "64Gi"}, "runners.small.limits.cpu", "write 1000000 or less"),
    ("runners.small.limits", {"cpu": "\u0664", "memory": "64Gi"}, "runners.small.limits.cpu", "is not a CPU quantity"),
    ("cache.expire_days", 10**30, "cache.expire_days", "write 3650 or less"),
]
PEOPLE = [
    *(
        ("cluster.administrators", [ROLE + "one", arn], where, words)
        for arn, where, words in (
            (
                "arn:aws-cn:iam::222222222222:role/two",
                "cluster.administrators.1",
                "is in partition aws-cn, and the organisation is in aws",
            ),
            ("arn:aws-us-gov:iam::222222222222:role/two", "cluster.administrators.1", "write arn:aws:iam::"),
            (
                "arn:aws:iam::999999999999:role/two",
                "cluster.administrators.1",
                "is in account 999999999999, which is not in accounts",
            ),
            ("arn:aws:iam::222222222222:user/two", "cluster.administrators.1", "is not the ARN of an IAM role"),
            ("arn:aws:iam::222222222222:root", "cluster.administrators.1", "is not the ARN of an IAM role"),
            ("arn:aws:sts::222222222222:assumed-role/two/me", "cluster.administrators.1", "is not the ARN"),
            (ROLE + "*", "cluster.administrators.1", "is not the ARN of an IAM role"),
            (ROLE + "team/*", "cluster.administrators.1", "is not the ARN of an IAM role"),
            (ROLE + "team//two", "cluster.administrators.1", "is not the ARN of an IAM role"),
            (ROLE + "two/", "cluster.administrators.1", "is not the ARN of an IAM role"),
            (ROLE + "x" * 65, "cluster.administrators.1", "is not the ARN of an IAM role"),
            (ROLE + "zwei\u00df", "cluster.administrators.1", "is not the ARN of an IAM role"),
            ("arn:aws-mars:iam::222222222222:role/two", "cluster.administrators.1", "is not the ARN of an IAM role"),
            (ROLE + "team/one", "cluster", "an account has one role of a name"),
            (ROLE + "ONE", "cluster", "an account has one role of a name"),
            (
                ROLE + "aws-service-role/eks.amazonaws.com/AWSServiceRoleForAmazonEKS",
                "cluster",
                "only an AWS service can use",
            ),
        )
    ),
    *(
        ("alarms", {"topic": topic}, "alarms.topic", words)
        for topic, words in (
            ("arn:aws:sns:eu-central-1:222222222222:alarms.fifo", "is not the ARN of a standard SNS topic"),
            ("arn:aws:sns:eu-west-1:222222222222:alarms", "send to topics of their own region only"),
            ("arn:aws-cn:sns:eu-central-1:222222222222:alarms", "is in aws-cn"),
            ("arn:aws:sns:eu-central-1:333333333333:alarms", "belongs to account 333333333333"),
            ("arn:aws:sns:eu-central-1:222222222222:" + "a" * 257, "is not the ARN of a standard SNS topic"),
            ("alarms", "is not the ARN of a standard SNS topic"),
        )
    ),
]
GITLAB = [
    *(
        ("gitlab.url", url, "gitlab.url", words)
        for url, words in (
            ("https://gitlab.example.com:99999", "has port 99999; write a port from 1 to 65535"),
            ("https://gitlab.example.com:0", "has port 0"),
            ("https://gitlab.example.com:443", "drop :443"),
            ("https://gitlab.example.com:", "is not the root of a GitLab instance"),
            ("https://...", "is not the root of a GitLab instance"),
            ("https://.", "is not the root of a GitLab instance"),
            ("https://gitlab..example.com", "is not the root of a GitLab instance"),
            ("https://.gitlab.example.com", "is not the root of a GitLab instance"),
            ("https://gitlab.example.com.", "is not the root of a GitLab instance"),
            ("https://-gitlab.example.com", "is not the root of a GitLab instance"),
            ("https://gitlab-.example.com", "is not the root of a GitLab instance"),
            ("https://-", "is not the root of a GitLab instance"),
            ("https://GitLab.example.com", "is not the root of a GitLab instance"),
            ("https://" + "a" * 64 + ".example.com", "is not the root of a GitLab instance"),
            ("https://" + "a.example." * 26 + "com", "the limit is 253"),
            ("https://gitlab.example.com?x=1", "is not the root of a GitLab instance"),
            ("https://gitlab.example.com:\uff1443", "is not the root of a GitLab instance"),
            ("https://gitlab_1.example.com", "is not the root of a GitLab instance"),
        )
    ),
    *(
        ("gitlab.ca_bundle", bundle, "gitlab.ca_bundle", words)
        for bundle, words in (
            ("", "is not a certificate in PEM"),
            ("corporate-ca.pem", "is not a certificate in PEM"),
            ("-----BEGIN CERTIFICATE-----\nfabricated\n-----END CERTIFICATE-----\n", "is not a certificate in PEM"),
            ("-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n", "is not a certificate in PEM"),
            (certificate("a.example.com").replace("\n", " "), "is not a certificate in PEM"),
            (certificate("a.example.com")[:-40], "is not a certificate in PEM"),
            (certificate("a.example.com").replace("CERTIFICATE", "CERTIFICATE REQUEST"), "is not a certificate in PEM"),
            (certificate("a.example.com") * 2000, "that a Secret holds"),
        )
    ),
    *(
        ("gitlab.group", group, "gitlab.group", "is not a numeric group id")
        for group in ("0", "007", "9" * 5000, "\u0665")
    ),
    ("runners.deploy.project", "0", "runners.deploy.project", "is not a numeric project id"),
    *(
        ("gitlab_oidc", oidc(project=project), "gitlab_oidc.app.project", words)
        for project, words in (
            ("*", "is not the full path of a project"),
            ("*/*", "has a wildcard in the group"),
            ("*/app", "has a wildcard in the group"),
            ("**/app", "has a wildcard in the group"),
            ("senncloud*/app", "has a wildcard in the group"),
            ("s*/app", "has a wildcard in the group"),
            ("*senncloud/app", "anybody can make a group"),
            ("senncloud", "is not the full path of a project"),
            ("senncloud/", "is not the full path of a project"),
            ("/senncloud/app", "is not the full path of a project"),
            ("senncloud//app", "is not the full path of a project"),
            ("senncloud/?pp", "is not the full path of a project"),
            ("https://gitlab.com/senncloud/app", "is not the full path of a project"),
            ("senncloud/äpp", "is not the full path of a project"),
            ("../../app", "without .git"),
            ("senncloud/app.git", "without .git"),
            ("senncloud/./app", "without .git"),
            ("senncloud/" + "a" * 600, "more than the 512 that fit into the trust"),
        )
    ),
    *(
        ("gitlab_oidc", oidc(ref=ref), "gitlab_oidc.app.ref", words)
        for ref, words in (
            ("refs/heads/main", "write what comes after refs/heads/"),
            ("release?", "is not a name of a branch or tag"),
            ("main branch", "is not a name of a branch or tag"),
            ("a..b", "is not a name of a branch or tag"),
            ("main:x", "is not a name of a branch or tag"),
            ("${aws:username}", "is not a name of a branch or tag"),
            ("/main", "is not a name of a branch or tag"),
            ("main.lock", "is not a name of a branch or tag"),
            ("x" * 300, "is not a name of a branch or tag"),
            ("\ud800", "is not a name of a branch or tag"),
        )
    ),
    ("gitlab_oidc", oidc(ref=None, tag="v1 2"), "gitlab_oidc.app.tag", "is not a name of a branch or tag"),
    ("gitlab_oidc", oidc(session="30m"), "gitlab_oidc.app", "outside 1h to 12h"),
]
VERSIONS_AND_NAMES = [
    *(
        ("cluster.version", version, "cluster.version", words)
        for version, words in (
            ("1.27", "'1.27' is out of EKS's standard support; write '1.33' to"),
            ("1.31", "is out of EKS's standard support"),
            ("1.10", "is out of EKS's standard support"),
            ("1.99", "'1.99' is not known yet"),
            ("1.40", "add its end of support to config/versions.py"),
            ("1.3", "is not a Kubernetes minor version"),
            ("1.35.1", "is not a Kubernetes minor version"),
            ("v1.35", "is not a Kubernetes minor version"),
            ("\uff11.35", "is not a Kubernetes minor version"),
            ("latest", "is not a Kubernetes minor version"),
        )
    ),
    *(
        ("chart.version", version, "chart.version", "is not a chart version")
        for version in ("00.93.0", "0.93.0-rc1", "9" * 5000 + ".0.0", "v0.93.0", "\u0660.93.0")
    ),
    *(
        ("chart.repository", repository, "chart.repository", "is not a chart repository")
        for repository in ("https://", "https://.", "https://charts.gitlab.io/a\nb", "https://charts gitlab", "oci://?")
    ),
    ("runners.system", CLASS, "runners.system", "Auto Mode has objects of that name"),
    ("runners.default", CLASS, "runners.default", "Auto Mode has objects of that name"),
    ("registry.open", ["apps", "apps"], "registry.open.1", "'apps' is listed twice"),
    ("registry.open", ["a" * 260], "registry.open.0", "the limit is 256"),
    ("registry.open", ["apps", "a" * 250], "registry.open.1", "makes the repository name"),
    ("registry.open", ["Apps"], "registry.open.0", "is not a repository name"),
    ("registry.open", ["apps//api"], "registry.open.0", "is not a repository name"),
    ("registry.open", ["apps:latest"], "registry.open.0", "is not a repository name"),
]
COMPANY = [
    *(
        ("tags", {"further": further}, "tags.further", words)
        for further, words in (
            ({"aws:cost": "1"}, "which AWS sets"),
            ({"AWS:cost": "1"}, "which AWS sets"),
            ({"platform:stack": "1"}, "which the platform sets"),
            ({"eks:cluster": "1"}, "which EKS sets"),
            ({"kubernetes.io/cluster/x": "1"}, "which Kubernetes sets"),
            ({"karpenter.sh/x": "1"}, "which Auto Mode sets"),
            ({"Name": "x"}, "write a key of your own"),
            ({"": "x"}, "write a key of your own"),
            ({" ": "x"}, "write a key of your own"),
            ({"k" * 129: "x"}, "of 129 characters; the limit is 128"),
            ({"k": "x" * 257}, "of 257 characters; the limit is 256"),
            ({"k": "x" * 10_000}, "the limit is 256"),
            ({"k": "a\nb"}, "write letters and digits of any language"),
            ({"k": "a,b"}, "write letters and digits of any language"),
            ({"k?": "a"}, "write letters and digits of any language"),
            ({"k": "\u0000"}, "write letters and digits of any language"),
            ({"CostCenter": "1", "costcenter": "2"}, "which are one key for IAM"),
            ({f"k{number}": "x" for number in range(41)}, "has 41 tags; AWS takes 50"),
        )
    ),
    ("tags", {"further": {"k": 4711}}, "tags.further.k", "write text, in quotes"),
    ("tags", {"further": ["k"]}, "tags.further", "write an object"),
    *(
        ("platform.boundary", boundary, "platform.boundary", words)
        for boundary, words in (
            ("", "is not the name or ARN of a managed policy"),
            ("/company/boundary", "is not the name or ARN of a managed policy"),
            ("company/", "is not the name or ARN of a managed policy"),
            ("company boundary", "is not the name or ARN of a managed policy"),
            ("*", "is not the name or ARN of a managed policy"),
            ("x" * 129, "is not the name or ARN of a managed policy"),
            ("arn:aws:iam::222222222222:role/boundary", "is not the name or ARN of a managed policy"),
            ("arn:aws:iam::1:policy/boundary", "is not the name or ARN of a managed policy"),
            ("arn:aws-mars:iam::aws:policy/boundary", "is not the name or ARN of a managed policy"),
            ("cicd-platform/delegated-boundary", "is the platform's own boundary"),
            ("delegated-boundary", "is the platform's own boundary"),
            ("arn:aws-cn:iam::aws:policy/PowerUserAccess", "is in partition aws-cn"),
        )
    ),
    *(
        ("accounts." + name, {"id": "555555555555"}, "accounts." + name, "is not a name for an account")
        for name in (
            "-log",
            "log-",
            "log--archive",
            "Log-archive",
            "log_archive",
            "1log",
            "log archive",
            "l" * 33,
            "l",
            "löschen",
        )
    ),
    ("registry.mutable", {"open": ["apps"]}, "registry.mutable.open.0", "'apps' is listed twice"),
    ("registry.mutable", {"protected": ["runner"]}, "registry.mutable.protected.0", "is the runner image's own"),
    ("registry.mutable", {"open": ["Cache"]}, "registry.mutable.open.0", "is not a repository name"),
    ("registry.mutable", ["cache"], "registry.mutable", "write an object"),
    ("runners.small.tags", [], "runners.small", "list at least 1"),
    ("runners.small.tags", ["docker", "docker"], "runners.small", "lists 'docker' twice"),
    ("runners.small.tags", ["docker, small"], "runners.small.tags.0", "is not a tag of this platform"),
    ("runners.small.tags", "docker", "runners.small.tags", "write a list"),
    ("runners.small.tags", ["big-dev"], "runners.small.tags", "is also the tag of 'big'"),
    ("runners.small.tags", ["docker", "big-dev"], "runners.small.tags", "'big-dev' selects 'big' too"),
    ("gitlab.url", "https://example.com/gitlab/", "gitlab.url", "with no slash at the end"),
    ("gitlab.url", "https://example.com//gitlab", "gitlab.url", "is not the root of a GitLab instance"),
    ("gitlab.url", "https://example.com/../gitlab", "gitlab.url", "is not the root of a GitLab instance"),
    ("gitlab.url", "https://example.com/gitlab/api/v4", "gitlab.url", "drop /api/v4"),
    ("gitlab.url", "https://gitlab.com/senncloud", "gitlab.url", "write https://gitlab.com"),
]
REFUSED = [*REGIONS, *NETWORKS, *SIZES, *PEOPLE, *GITLAB, *VERSIONS_AND_NAMES, *COMPANY]
"""Path and value that are put into dev's settings, where the problem is, and words of its message."""

REFUSED_IN_THE_FOUNDATION = [
    ("gitlab.url", "https://gitlab.example.com:8443", "gitlab.url", "IAM takes no issuer of ID tokens with a port"),
    ("organization.region", "eu-central-9", "organization", "did you mean"),
    ("gitlab.url", "https://10.0.0.5", "gitlab.url", "is no name that AWS can look up"),
    ("gitlab.url", "https://gitlab", "gitlab.url", "give GitLab a public DNS name"),
    ("gitlab.url", "https://" + "a." * 123 + "com/", "gitlab.url", "with no slash at the end"),
    ("gitlab.url", "https://" + "a." * 123 + "com", "gitlab.url", "IAM takes 255"),
    ("platform.project", "senncloud/" + "a" * 600, "platform.project", "more than the 512"),
    ("platform.boundary_document", "b.json", "platform", "and no boundary"),
    ("platform.boundary", "delegated-boundary", "platform.boundary", "is the platform's own boundary"),
    ("tags", {"further": {"aws:x": "y"}}, "tags.further", "which AWS sets"),
    ("platform.operators", ["arn:aws-cn:iam::111111111111:role/o"], "platform.operators.0", "is in partition aws-cn"),
    ("platform.operators", ["arn:aws:iam::999999999999:role/o"], "platform.operators.0", "which is not in accounts"),
    (
        "platform.operators",
        [f"arn:aws:iam::111111111111:role/people/operator{number}" for number in range(40)],
        "platform.operators",
        "IAM takes 2048",
    ),
    ("platform.ref", "*", "platform.ref", "without wildcards"),
    ("platform.ref", "release-*", "platform.ref", "name exactly one"),
    ("platform.ref", "refs/heads/main", "platform.ref", "write what comes after refs/heads/"),
    ("platform.project", "senncloud/*", "platform.project", "without wildcards"),
    ("platform.project", "runner-platform", "platform.project", "is not the full path of a project"),
]


def _numbered(cases: Iterable[tuple[Any, ...]]) -> list[str]:
    """Return a name for each case that no other case has."""
    return [f"{case_name(path)} {number}" for number, (path, *_) in enumerate(cases)]


@pytest.mark.parametrize(("path", "value", "where", "words"), REFUSED, ids=_numbered(REFUSED))
def test_a_value_that_would_be_refused_later_is_refused_at_once(
    path: str, value: object, where: str, words: str
) -> None:
    problems = complaints(raw("dev", **{path.replace(".", "__"): value}))
    assert set(problems) == {where}, f"{path} = {value!r:.40}: {problems}"
    assert words in problems[where], "the message holds what is wrong and what to do"
    assert len(problems[where]) < 500, "a message is a sentence, whatever was written"


@pytest.mark.parametrize(
    ("path", "value", "where", "words"), REFUSED_IN_THE_FOUNDATION, ids=_numbered(REFUSED_IN_THE_FOUNDATION)
)
def test_the_foundation_refuses_such_values_too(path: str, value: object, where: str, words: str) -> None:
    problems = complaints(raw(foundation.STACK, **{path.replace(".", "__"): value}), foundation.STACK)
    assert set(problems) == {where}, f"{path} = {value!r:.40}: {problems}"
    assert words in problems[where]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("gitlab.url", "https://someone:hunter2@gitlab.example.com"),
        ("chart.repository", "https://someone:hunter2@charts.example.com/stable"),
        ("gitlab.ca_bundle", "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n"),
    ],
)
def test_a_secret_in_a_value_is_refused_and_not_repeated(path: str, value: str) -> None:
    problems = complaints(raw("dev", **{path.replace(".", "__"): value}))
    assert set(problems) == {path}
    assert "hunter2" not in problems[path]


@pytest.mark.parametrize(
    ("changes", "where", "words"),
    [
        ({"organization.region": "us-west-1", "network.zones": 3}, "network.zones", "us-west-1 offers 2 zones"),
        (
            {"gitlab.url": "https://gitlab.example.com:8443", "gitlab_oidc": oidc()},
            "gitlab.url",
            "serve GitLab at port 443",
        ),
        ({"cluster.service_cidr": "10.41.0.0/16"}, "network.cidr", "overlaps cluster.service_cidr"),
        ({"runners.small.tag": "a", "runners.small.tags": ["a", "b"]}, "runners.small", "has tag and tags"),
        (
            {"runners.small.tags": ["small", "docker"], "runners.deploy.tags": ["deploy", "docker"]},
            "runners.small.tags",
            "'docker' is shared with 'deploy' of level protected",
        ),
        (
            {"runners.small.tags": ["small", "docker"], "runners.big.tags": ["docker"]},
            "runners.small.tags",
            "give each class a tag that the other has not",
        ),
    ],
)
def test_values_that_do_not_go_together_are_refused(changes: dict[str, Any], where: str, words: str) -> None:
    values = raw("dev")
    for path, value in changes.items():
        put(values, path, value)
    problems = complaints(values)
    assert set(problems) == {where}
    assert words in problems[where]


def test_a_class_that_enters_more_accounts_than_iam_can_name_is_refused_with_the_numbers() -> None:
    values = raw("prod")
    values["runners"] = {"small": values["runners"]["small"], "deploy": values["runners"]["deploy"]}
    many = {f"team{number}": {"id": f"{number:012}", "open": ["state"]} for number in range(400)}
    values["accounts"] |= many
    problems = complaints(values, "prod")
    assert set(problems) == {"runners.small.accounts"}, "the protected class enters four accounts"
    message = problems["runners.small.accounts"]
    assert "may enter 402 accounts" in message
    assert "IAM takes 10240: narrow the class with accounts: […]" in message
    put(values, "runners.small.accounts", list(many)[:100])
    assert complaints(values, "prod") == {}, "the remedy works"


TAKEN: list[tuple[str, Any]] = [
    ("organization.region", "us-west-1"),
    ("network.cidr", "100.64.0.0/16"),
    ("cluster.service_cidr", "192.168.0.0/20"),
    ("cluster.service_cidr", "172.16.0.0/12"),
    ("cluster.service_cidr", "10.100.0.0/24"),
    ("network.endpoint_cidrs", ["10.41.128.0/24", "10.99.0.0/16"]),
    ("cluster.access", access("0.0.0.0/0")),
    ("cluster.access", access(*(f"203.0.113.{number}/32" for number in range(40)))),
    ("cluster.version", "1.36"),
    ("cluster.administrators", [ROLE + "one", "arn:aws:iam::333333333333:role/team/one"]),
    (
        "cluster.administrators",
        [ROLE + "one", ROLE + "aws-reserved/sso.amazonaws.com/eu-central-1/AWSReservedSSO_Admin_0a"],
    ),
    ("gitlab.url", "https://gitlab.example.com:8443"),
    ("gitlab.url", "https://gitlab"),
    ("gitlab.url", "https://10.0.0.5"),
    ("gitlab.url", "https://xn--gitlb-6qa.example.com"),
    ("gitlab.ca_bundle", certificate("gitlab.example.com") + certificate("gitlab.example.com")),
    ("gitlab.ca_bundle", "# the company's root\n" + certificate("gitlab.example.com")),
    ("gitlab_oidc", oidc(project="senncloud/*")),
    ("gitlab_oidc", oidc(project="senncloud/sub/*-app")),
    ("gitlab_oidc", oidc(ref="feature/*")),
    ("gitlab_oidc", oidc(ref="fix/#12-ümlaut")),
    ("runners.small.disk", "1Gi"),
    ("runners.small.memory", "64Mi"),
    ("runners.small.cpu", "10m"),
    ("chart.repository", "oci://registry.example.com:5000/charts/gitlab"),
    ("registry.open", ["apps", "team/api.v2", "a-b_c"]),
    ("runners.system1", CLASS),
    (
        "tags",
        {"further": {"Größe": "übergroß", "cost/center": "a+b=c@d.e", "leer": "", "日本": "\uff11", "awsome": "x"}},
    ),
    ("tags", {"further": {f"k{number}": "x" * 256 for number in range(40)}}),
    ("platform.boundary", "company-boundary"),
    ("platform.boundary", "company/cloud/boundary"),
    ("platform.boundary", "arn:aws:iam::aws:policy/PowerUserAccess"),
    ("platform.boundary", "arn:aws:iam::222222222222:policy/company-boundary"),
    *(("accounts." + name, {"id": "555555555555"}) for name in ("log-archive", "prod-app", "a-1-b", "l" * 32)),
    ("registry.mutable", {"open": ["cache"], "protected": ["cache", "apps-cache"]}),
    ("runners.small.tags", ["docker", "small"]),
    ("gitlab.url", "https://example.com/gitlab"),
    ("gitlab.url", "https://example.com:8443/tools/gitlab"),
]


@pytest.mark.parametrize(("path", "value"), TAKEN, ids=_numbered(TAKEN))
def test_a_value_that_aws_and_gitlab_take_is_taken(path: str, value: object) -> None:
    assert complaints(raw("dev", **{path.replace(".", "__"): value})) == {}


def test_every_region_is_of_the_partition_that_lists_it() -> None:
    for partition in PARTITIONS:
        assert regions(partition), f"{partition} has regions"
        assert {partition_of(region) for region in regions(partition)} == {partition}
    assert partition_of("moon-east-1") is None
    assert (zones_with_eks("us-west-1"), zones_with_eks("eu-central-1")) == (2, 3)


def test_regions_without_eks_are_those_that_botocore_lists_none_for() -> None:
    import botocore.session  # noqa: PLC0415  # slow to import

    session = botocore.session.get_session()
    for partition in PARTITIONS:
        without = {*regions(partition)} - {*session.get_available_regions("eks", partition)}
        assert without == {*REGIONS_WITHOUT_EKS} & {*regions(partition)}, (
            "a new botocore knows more: change REGIONS_WITHOUT_EKS"
        )


def test_all_mistakes_of_a_file_are_reported_at_once() -> None:
    values = raw("dev")
    for path, value, *_ in (REGIONS[0], NETWORKS[1], SIZES[0], PEOPLE[0], VERSIONS_AND_NAMES[0]):
        put(values, path, value)
    put(values, "chart.repository", ABSENT)
    assert {"organization", "network.cidr", "runners.small.disk", "cluster.version", "chart"} <= set(complaints(values))
