"""The objects of a stack file, one pydantic model each: shapes, types of single values, and rules within one object.

Rules between objects are in `config/checks.py`.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from config.capabilities import WITHOUT_LEVEL_PREFIX, Capability, Level, refuse_cdk
from config.errors import FieldError
from config.gitlab_values import (  # pydantic reads the annotations at run time
    BranchOrTag,  # noqa: TC001
    CaBundle,  # noqa: TC001
    GitLabUrl,  # noqa: TC001
    ProjectPattern,  # noqa: TC001
)
from config.names import BOUNDARY_POLICY
from config.networks import MOST_PUBLIC_NETWORKS, Cidr, PublicCidr
from config.partitions import ARN_PARTITION, REGIONS_WITHOUT_EKS, Partition, partition_of, regions
from config.quantities import (
    Seconds,  # noqa: TC001  # pydantic reads the annotation at run time
)
from config.tag_limits import refuse_odd_tags
from config.values import Allowed, pattern, refuse_repeated, url_pattern
from config.versions import KUBERNETES_SUPPORT_ENDS, minor_version, newest_kubernetes, oldest_kubernetes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CLASS_NAME = re.compile(r"^[a-z][a-z0-9]{1,15}$")
ACCOUNT_NAME = re.compile(r"^(?=.{2,32}$)[a-z][a-z0-9]*(-[a-z0-9]+)*$", re.ASCII)
"""Names of accounts, which become AWS profiles and parts of logical names."""
RESERVED_NAMES = frozenset({"open", "protected", "manager", "managers", "foundation", "platform"})
"""Names that no class and no stack may have, since other names would become ambiguous. Open classes of a stack `protected` would push
images below `protected/open/`, and prod's protected classes run images below `protected/`."""
SHORTEST_SESSION, LONGEST_SESSION = 3600, 12 * 3600
OLDEST_CHART = (0, 86, 0)
FEWEST_ADMINISTRATORS = 2
_NUMBER = r"(0|[1-9]\d{0,5})"
_OWN_ROLE = re.compile(r":role/(cicd[^/]*|deploy)/")


AccountId = Annotated[
    str,
    pattern(r"\d{12}", 'is not an account id; write twelve digits in quotes, such as "111111111111"'),
    Allowed("twelve digits in quotes"),
]
"""The id of an AWS account."""
RoleArn = Annotated[
    str,
    pattern(
        rf"arn:{ARN_PARTITION}:iam::\d{{12}}:role/([\w+=,.@-]+/)*[\w+=,.@-]{{1,64}}",
        "is not the ARN of an IAM role; write arn:aws:iam::<account id>:role/<name>",
    ),
    Allowed("`arn:aws:iam::<account id>:role/<name>`, no role of the platform, of a deployment or of an AWS service"),
]
"""The ARN of an IAM role."""
TopicArn = Annotated[
    str,
    # A FIFO topic has a dot in its name. It takes no e-mail subscription, so that nobody would hear the alarm.
    pattern(
        rf"arn:{ARN_PARTITION}:sns:[a-z0-9-]+:\d{{12}}:[\w-]{{1,256}}",
        "is not the ARN of a standard SNS topic; write arn:aws:sns:<region>:<account id>:<name>, as `aws sns list-topics` shows it",
    ),
    Allowed("`arn:aws:sns:<region>:<account id>:<name>`; no FIFO topic"),
]
"""The ARN of a standard SNS topic."""
AccountName = Annotated[str, Allowed("a name of `accounts`")]
"""The name of an account in the same file."""
ProjectId = Annotated[
    str,
    pattern(r"[1-9]\d{0,17}", "is not a numeric project id; the project's page shows it"),
    Allowed("digits in quotes"),
]
"""The numeric id of a GitLab project."""
GroupId = Annotated[
    str, pattern(r"[1-9]\d{0,17}", "is not a numeric group id; the group's page shows it"), Allowed("digits in quotes")
]
"""The numeric id of a GitLab group."""
RepositoryName = Annotated[
    str,
    pattern(r"[a-z0-9]+([._/-][a-z0-9]+)*", "is not a repository name; write small letters, digits and single ./_-"),
    Allowed("small letters and digits, with single `.`, `/`, `_` or `-` between them"),
]
"""The name of a container repository, without the prefix of its level."""
TagValue = Annotated[
    str,
    pattern(r"[\w.:/=+@ -]{1,128}", "is not a tag value; write 1 to 128 letters, digits, spaces and . : / = + @ _ -"),
    Allowed("1 to 128 letters, digits, spaces and `. : / = + @ _ -`"),
]
"""The value of an AWS tag."""


def refuse_own_roles(arns: Iterable[str]) -> None:
    """Refuse roles of the platform, of deployments and of AWS where roles of people are expected: jobs would act as people.

    Raises:
        FieldError: one of the roles is not a person's, or two differ in their path alone.
    """
    owners: dict[tuple[str, str], str] = {}
    for arn in arns:
        if _OWN_ROLE.search(arn):
            raise FieldError(f"names {arn}, a role of the platform itself or of a deployment; name roles of people")
        if ":role/aws-service-role/" in arn:
            raise FieldError(f"names {arn}, which only an AWS service can use; name roles of people")
        owner = owners.setdefault((arn.split(":")[4], arn.rpartition("/")[2].lower()), arn)
        if owner != arn:
            raise FieldError(
                f"names {arn} and {owner}, and an account has one role of a name, whatever its path and case; "
                "write the one that `aws iam get-role` shows"
            )


def refuse_own_boundary(value: str) -> str:
    """Return a policy's name, unless it is the platform's own boundary, which forbids what the platform's roles do.

    Raises:
        FieldError: it is the platform's own.
    """
    if value.rpartition("/")[2] == BOUNDARY_POLICY:
        raise FieldError(
            f"{value!r} is the platform's own boundary, for delegated roles; name the organisation's, or drop the key"
        )
    return value


BoundaryPolicy = Annotated[
    str,
    pattern(
        rf"(arn:{ARN_PARTITION}:iam::(aws|\d{{12}}):policy/)?([\w+=,.@-]+/)*[\w+=,.@-]{{1,128}}",
        "is not the name or ARN of a managed policy; write a name with its path, such as company/boundary",
    ),
    AfterValidator(refuse_own_boundary),
    Allowed(
        "the name of a managed policy with its path, such as `company/boundary`, or its ARN; not the platform's own"
    ),
]
"""A managed policy of the organisation, which every account has under the same name, or AWS's own."""


DocumentPath = Annotated[
    str,
    pattern(
        r"[\w.-]+(/[\w.-]+)*\.json", "is not a file of this repository; write a path such as company-boundary.json"
    ),
    Allowed("a path from the repository's root, `….json`"),
]
"""A JSON file, from the repository's root."""


def refuse_lone_document(boundary: str | None, document: str | None) -> None:
    """Refuse a boundary's document without the boundary.

    Raises:
        FieldError: the boundary is missing.
    """
    if document is not None and boundary is None:
        raise FieldError(f"has boundary_document {document!r} and no boundary; name the policy, or drop the document")


class Section(BaseModel):
    """Base of every object of a stack file: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Organization(Section):
    """The AWS organisation."""

    id: Annotated[
        str,
        pattern(r"o-[a-z0-9]{10,32}", "is not an organisation id; `aws organizations describe-organization` shows it"),
        Allowed("`o-` and 10 to 32 small letters and digits"),
    ]
    """Id of the organisation. Trusts and bucket policies admit its accounts only."""
    region: Annotated[
        str,
        pattern(r"[a-z]{2,4}(-[a-z]+)+-\d", "is not a region; write one such as eu-central-1"),
        Allowed("a region of the partition with EKS, such as `eu-central-1`"),
    ]
    """Region of everything."""
    partition: Partition = "aws"
    """Partition of everything; it must be the region's."""

    @model_validator(mode="after")
    def _region_of_the_partition(self) -> Self:
        expected = partition_of(self.region)
        if expected is None:
            nearest = difflib.get_close_matches(self.region, regions(self.partition), n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(regions(self.partition))}"
            raise FieldError(
                f"has region {self.region!r}, which AWS does not have as far as botocore knows; {hint} "
                "For a new region, raise boto3 in pyproject.toml"
            )
        if expected != self.partition:
            raise FieldError(
                f"has region {self.region!r}, which is in partition {expected!r}, and partition {self.partition!r}; make them agree"
            )
        if self.region in REGIONS_WITHOUT_EKS:
            raise FieldError(f"has region {self.region!r}, in which AWS offers no EKS; choose another region")
        return self


class Account(Section):
    """One AWS account, and the capabilities of each trust level in it."""

    id: AccountId
    """Id of the account, twelve digits in quotes."""
    open: tuple[Annotated[Capability, Field(strict=False)], ...] = Field(default=(), strict=False)
    """Capabilities of the open level."""
    protected: tuple[Annotated[Capability, Field(strict=False)], ...] = Field(default=(), strict=False)
    """Capabilities of the protected level."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_cdk(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for level in Level:
                capabilities = value.get(level.value)
                for capability in capabilities if isinstance(capabilities, list) else ():
                    refuse_cdk(capability)
        return value

    @model_validator(mode="after")
    def _keep_levels_apart(self) -> Account:
        shared = sorted(WITHOUT_LEVEL_PREFIX.intersection(self.open, self.protected))
        if shared:
            raise FieldError(
                f"lists {shared[0].value!r} for both levels: an open job could change or use what a protected job made there; "
                "give it to one level only, and use another account for the other level"
            )
        return self

    def capabilities(self, level: Level) -> tuple[Capability, ...]:
        """Return the level's capabilities in this account; empty if the level has no role here."""
        return self.open if level is Level.OPEN else self.protected


class Platform(Section):
    """Where the platform lives."""

    account: AccountName
    """Name of the account that holds cluster, registry and job cache."""
    protect: bool
    """Guards cluster, keys and buckets against deletion."""
    boundary: BoundaryPolicy | None = None
    """Permissions boundary that the organisation demands: a managed policy that each account has under this name (`company/boundary`), or an ARN.
    Delegated roles and GitLab roles keep the platform's own boundary: a role has one."""
    boundary_document: DocumentPath | None = None
    """File with that policy's document, from the repository's root, such as `company-boundary.json`. Without it `access` cannot decide what the
    boundary leaves, and `check` says so."""

    @model_validator(mode="after")
    def _document_of_a_boundary(self) -> Self:
        refuse_lone_document(self.boundary, self.boundary_document)
        return self


class GitLab(Section):
    """The GitLab instance that sends the jobs."""

    url: GitLabUrl
    """Root of the instance, without a slash at the end."""
    runners: Literal["managed", "external"] = "managed"
    """`managed`: the program registers the runners. `external`: you register them and bring their tokens."""
    group: GroupId | None = None
    """Numeric id of the group whose projects may use the open classes; required with `runners: managed`."""
    ca_bundle: CaBundle | None = None
    """PEM of a private certificate authority that signed the instance's certificate."""

    @model_validator(mode="after")
    def _group_for_managed(self) -> Self:
        if self.runners == "managed" and self.group is None:
            raise FieldError(
                'has no group: with `runners: managed` write group: "<numeric id>", the group whose projects may use the open classes'
            )
        return self


class Chart(Section):
    """Source of the gitlab-runner chart: a repository with a version, or a packaged chart."""

    repository: (
        Annotated[
            str,
            url_pattern(
                r"(https|oci)://[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?(/[\w.~%+/-]*)?",
                "is not a chart repository; write https://… or oci://…",
            ),
            Allowed("`https://…` or `oci://…`, without a user or a password"),
        ]
        | None
    ) = None
    """Repository of the chart, `https://…` or `oci://…`; needs `version`."""
    version: (
        Annotated[
            str,
            pattern(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}", "is not a chart version; write one such as 0.93.0"),
            Allowed("`0.86.0` or newer, all three numbers"),
        ]
        | None
    ) = None
    """Version of the chart in the repository, 0.86.0 or newer."""
    path: (
        Annotated[
            str,
            pattern(r".+\.tgz", "is not a packaged chart; `helm package` makes a .tgz"),
            Allowed("a file below the project, `….tgz`"),
        ]
        | None
    ) = None
    """A packaged chart, instead of repository and version."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.repository is None):
            raise FieldError("needs one source: either {repository: …, version: …} or {path: ….tgz}")
        if self.repository is not None and self.version is None:
            raise FieldError("has a repository but no version; pin one, such as version: 0.93.0")
        if self.path is not None and self.version is not None:
            raise FieldError("has a version beside a path; the packaged chart has its own: drop one of them")
        if self.version is not None and tuple(int(part) for part in self.version.split(".")) < OLDEST_CHART:
            raise FieldError(
                f"version {self.version} is older than 0.86.0, the oldest whose values this program writes; raise it"
            )
        return self


class Cache(Section):
    """The job cache."""

    expire_days: int = Field(ge=0, le=3650)
    """Days until a cache archive is deleted; 0 keeps it for ever."""


class MutableRepositories(Section):
    """Repositories whose tags may be overwritten, such as build caches."""

    open: tuple[RepositoryName, ...] = Field(default=(), strict=False)
    """Repositories that open classes push to, without the prefix of the level."""
    protected: tuple[RepositoryName, ...] = Field(default=(), strict=False)
    """Repositories that protected classes push to, without the prefix of the level."""


class Registry(Section):
    """Container repositories by trust level, beside the runner image's own."""

    open: tuple[RepositoryName, ...] = Field(default=(), strict=False)
    """Repositories that open classes push to, without the prefix of the level."""
    protected: tuple[RepositoryName, ...] = Field(default=(), strict=False)
    """Repositories that protected classes push to, without the prefix of the level."""
    mutable: MutableRepositories = MutableRepositories()
    """Further repositories, whose tags may be overwritten: caches of builds, and tags such as `latest`. Overwritten images go after two weeks."""

    def entries(self, level: Level) -> Iterator[tuple[str, str]]:
        """Yield `(path of the setting, name)` of a level's repositories."""
        for key, holder in (("registry", self), ("registry.mutable", self.mutable)):
            for position, name in enumerate(holder.open if level is Level.OPEN else holder.protected):
                yield f"{key}.{level.value}.{position}", name


class Tags(Section):
    """Values of the tags on every resource."""

    owner: TagValue = "platform"
    """Value of the tag `platform:owner`."""
    cost: TagValue = "cicd"
    """Value of the tag `platform:cost`."""
    further: Annotated[
        dict[str, str], Allowed("at most 40 keys and values that AWS takes, none of the platform's", "texts by key")
    ] = {}
    """Further tags of every resource, by key, such as those that a service control policy demands."""

    @field_validator("further")
    @classmethod
    def _tags_that_aws_takes(cls, value: dict[str, str]) -> dict[str, str]:
        refuse_odd_tags(value)
        return value


class GitLabOidc(Section):
    """A role that GitLab's own ID tokens may assume, without a runner class."""

    account: AccountName
    """Name of the account of the role."""
    level: Annotated[Level, Field(strict=False)]
    """Trust level whose capabilities the role has."""
    project: ProjectPattern
    """Full path of the GitLab project. Wildcards are for `open` only, and never in the top-level group."""
    ref: BranchOrTag | None = None
    """Branch whose jobs may assume the role."""
    tag: BranchOrTag | None = None
    """Git tag whose jobs may assume the role."""
    environment: Literal["production", "staging", "testing", "development", "other"] | None = None
    """Deployment tier of a protected environment; the project's `sub` must hold it (`components/documents/trust.py`)."""
    session: Annotated[Seconds, Allowed("`1h` to `12h`", "duration")] = 3600
    """Longest session that a job may ask for."""

    @model_validator(mode="after")
    def _exactly_one_condition(self) -> Self:
        conditions = [name for name in ("ref", "tag", "environment") if getattr(self, name)]
        if len(conditions) != 1:
            raise FieldError(
                f"names {' and '.join(conditions) or 'no'} condition; name exactly one of ref, tag, environment"
            )
        wildcards = [name for name in ("project", *conditions) if "*" in getattr(self, name)]
        if wildcards and self.level is Level.PROTECTED:
            raise FieldError(
                f"has a wildcard in {wildcards[0]}; a protected role names exactly one project and {conditions[0]}"
            )
        if not SHORTEST_SESSION <= self.session <= LONGEST_SESSION:
            raise FieldError(
                f"has a session of {self.session} s, outside 1h to 12h, which IAM allows; write a time within"
            )
        return self


class ExistingNetwork(Section):
    """Subnets of another owner; the platform verifies them and never changes them."""

    vpc: Annotated[str, pattern(r"vpc-[0-9a-f]+", "is not a VPC id; write vpc-…"), Allowed("`vpc-…`")]
    """Id of the VPC."""
    private: tuple[
        Annotated[
            str, pattern(r"subnet-[0-9a-f]+", "is not a subnet id; write subnet-…"), Allowed("`subnet-…`, none twice")
        ],
        ...,
    ] = Field(min_length=2, max_length=3, strict=False)
    """Ids of two or three private subnets."""

    @field_validator("private")
    @classmethod
    def _each_subnet_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        refuse_repeated(value)
        return value


class Network(Section):
    """The platform's network: a new VPC, or existing subnets."""

    cidr: Annotated[Cidr, Allowed("an IPv4 network from /16 to /20, such as `10.40.0.0/16`")] | None = None
    """Range of a network of its own."""
    zones: Literal[2, 3] | None = None
    """Number of availability zones."""
    nat: Literal["single", "per-zone", "none"] | None = None
    """One NAT gateway, one in each zone, or none: then machines have public addresses, and no class can be of executor `kubernetes`."""
    existing: ExistingNetwork | None = None
    """Subnets that somebody else owns, instead of a network of its own."""
    endpoint_cidrs: tuple[Cidr, ...] = Field(default=(), strict=False)
    """Subnets with interface endpoints: jobs may reach port 443 there, although the rest of the VPC is closed to them."""

    @field_validator("endpoint_cidrs")
    @classmethod
    def _each_network_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        refuse_repeated(value)
        return value

    @model_validator(mode="after")
    def _own_or_existing(self) -> Self:
        own = (self.cidr, self.zones, self.nat)
        if self.existing is not None and any(part is not None for part in own):
            raise FieldError("has both a network of its own and an existing one; keep {cidr, zones, nat} or {existing}")
        if self.existing is None and None in own:
            raise FieldError(
                "is incomplete; write {cidr: …, zones: 2 or 3, nat: single, per-zone or none} or {existing: {vpc: …, private: […]}}"
            )
        return self


class PrivateAccess(Section):
    """The API endpoint is reachable only from inside the network."""

    reached_from: Literal["vpn", "peering", "transit-gateway", "runner"]
    """How the deployer reaches the API. For readers only: no resource depends on it."""


class ClusterAccess(Section):
    """How clients reach the cluster's API."""

    public_cidrs: tuple[PublicCidr, ...] | None = Field(default=None, strict=False)
    """Networks that reach the API over the internet, at most 40."""
    private: PrivateAccess | None = None
    """The API is reachable from inside the network only."""

    @field_validator("public_cidrs")
    @classmethod
    def _as_many_as_eks_takes(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        networks = value or ()
        refuse_repeated(networks)
        if len(networks) > MOST_PUBLIC_NETWORKS:
            raise FieldError(
                f"lists {len(networks)} networks, and EKS takes {MOST_PUBLIC_NETWORKS}; join neighbours into larger networks, "
                "or use access: {private: …}"
            )
        return value

    @model_validator(mode="after")
    def _public_or_private(self) -> Self:
        if (not self.public_cidrs) == (self.private is None):
            raise FieldError(
                "needs one way into the cluster's API, else nothing could create the first Kubernetes resource: "
                "{public_cidrs: [203.0.113.0/24]} or {private: {reached_from: vpn}}"
            )
        return self


class Cluster(Section):
    """The EKS cluster."""

    version: Annotated[
        str,
        pattern(r"1\.\d{2}", 'is not a Kubernetes minor version; write it in quotes, such as "1.35"'),
        Allowed(f"in quotes, supported by EKS; known: {', '.join(KUBERNETES_SUPPORT_ENDS)}"),
    ]
    """Kubernetes minor version in quotes, such as `"1.35"`."""
    administrators: tuple[RoleArn, ...] = Field(strict=False)
    """Roles of people that administer the cluster, at least two."""
    access: ClusterAccess
    """How to reach the API: exactly one of its keys."""
    service_cidr: Annotated[Cidr, Allowed("a private IPv4 network from /12 to /24, apart from the VPC's")] = (
        "172.20.0.0/16"
    )
    """Range of the services' addresses: private, a /12 to a /24."""

    @field_validator("version")
    @classmethod
    def _version_that_eks_offers(cls, value: str) -> str:
        newest, oldest = newest_kubernetes(), oldest_kubernetes()
        if value in KUBERNETES_SUPPORT_ENDS:
            return value
        if minor_version(value) > minor_version(newest):
            raise FieldError(
                f"{value!r} is not known yet; the newest is {newest!r}. If EKS offers it, add its end of support to config/versions.py"
            )
        raise FieldError(f"{value!r} is out of EKS's standard support; write {oldest!r} to {newest!r}")

    @model_validator(mode="after")
    def _two_administrators(self) -> Self:
        refuse_own_roles(self.administrators)
        count = len(set(self.administrators))
        if count < FEWEST_ADMINISTRATORS:
            raise FieldError(
                f"names {count} administrator(s); name at least two different roles, so that losing one locks nobody out"
            )
        return self


class Alarms(Section):
    """Where alarms go; without a topic there are no alarms, and nothing is installed for them."""

    topic: TopicArn | None = None
    """ARN of a standard SNS topic in the platform's account and region."""


class Machines(Section):
    """What all EC2 instances of the runners have in common."""

    image: (
        Annotated[
            str,
            pattern(
                r"/[A-Za-z0-9_.{}-]+(/[A-Za-z0-9_.{}-]+){1,13}(:\d{1,10})?",
                "is not an SSM parameter; write the path of a parameter that holds the id of an image",
            ),
            Allowed(
                "path of an SSM parameter that holds the id of an Ubuntu 24.04 image; `{arch}` in it is `amd64` or `arm64`"
            ),
        ]
        | None
    ) = None
    """Image of the machines. Without it, Canonical's Ubuntu 24.04 of the release that this version of the program pins."""
