"""What a world is made of, and what can be asked about it. Policy documents are JSON objects as AWS shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]
Tags = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Role:
    """An IAM role."""

    account: str
    path: str
    """Begins and ends with a slash."""
    name: str
    role_id: str
    """The unique id, `AROA...`."""
    trust: Document
    policies: tuple[Document, ...] = ()
    """Inline and attached policies: AWS treats both alike."""
    boundary: Document | None = None
    tags: Tags = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """ARN of the role, with its path."""
        return f"arn:aws:iam::{self.account}:role{self.path}{self.name}"


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session of a role."""

    role: str
    """ARN of the role."""
    name: str
    tags: Tags = field(default_factory=dict)
    """Tags passed when the session began."""
    transitive: frozenset[str] = frozenset()
    """Keys of `tags` that a chained session inherits."""
    inherited: Tags = field(default_factory=dict)
    """Transitive tags of an earlier session; they stay transitive."""
    policy: Document | None = None
    """The session policy."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A bucket, an object of it, a key, or a repository."""

    arn: str
    account: str
    service: str
    """`s3`, `kms` or `ecr`."""
    policy: Document | None = None
    """The policy of the bucket, the key or the repository."""
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Provider:
    """An OIDC provider of an account."""

    account: str
    issuer: str
    """Without `https://`."""
    audiences: tuple[str, ...]

    @property
    def arn(self) -> str:
        """ARN of the provider."""
        return f"arn:aws:iam::{self.account}:oidc-provider/{self.issuer}"


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything that a verdict depends on."""

    now: str
    """Time of every request, ISO 8601 in UTC."""
    source_ip: str
    """Public address that every request comes from."""
    organizations: dict[str, str | None]
    """Organization id of each account, None for an account on its own."""
    roles: dict[str, Role]
    """By ARN."""
    sessions: tuple[Session, ...]
    resources: dict[str, Resource]
    """By ARN."""
    providers: tuple[Provider, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AssumeRole:
    """May the session call sts:AssumeRole on the role?"""

    session: Session
    role: str
    session_name: str = "chained"
    external_id: str | None = None
    tags: Tags = field(default_factory=dict)
    transitive: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class AssumeRoleWithToken:
    """May the holder of the OIDC token call sts:AssumeRoleWithWebIdentity on the role?"""

    role: str
    issuer: str
    """Without `https://`."""
    subject: str
    audience: str
    claims: dict[str, str] = field(default_factory=dict)
    """Further claims of the token: IAM has no condition keys for them."""
    session_name: str = "web"
    tags: Tags = field(default_factory=dict)
    """Session tags in the token's claim `https://aws.amazon.com/tags`."""
    transitive: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class AssumeRoleForPod:
    """May EKS Pod Identity begin a session of the role for a pod?"""

    role: str
    cluster: str
    """ARN of the cluster."""
    namespace: str
    service_account: str
    pod: str = "pod-0"


@dataclass(frozen=True, kw_only=True)
class Act:
    """May the session do the action on the resource?"""

    session: Session
    action: str
    resource: str
    """ARN of a resource of the world, or of an object in one of its buckets."""
    request_tags: Tags = field(default_factory=dict)
    """Tags that the request passes, for actions that tag."""


Question = AssumeRole | AssumeRoleWithToken | AssumeRoleForPod | Act
