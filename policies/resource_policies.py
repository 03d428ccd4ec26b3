"""Resource policies of a stack: the documents, the resources that they belong to, and what they admit beyond what is declared."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from access.admission import ANYBODY, STRANGER, Store, admitted, foreign_principals, principals_for
from access.policy_documents import ALLOW
from config.names import DEPLOYER_ROLE, PLATFORM_ROLE_PATH, READER_ROLE, role_arn
from policies.statements import allow_statements, name_of, statements
from policies.type_tokens import (
    BUCKET,
    BUCKET_POLICY,
    KEY,
    KEY_POLICY,
    REGISTRY_POLICY,
    REPOSITORY_POLICY,
    REPOSITORY_TEMPLATE,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from access.actions import Effect
    from access.admission import Principal
    from policies.fields import Field
    from policies.rule import CheckedResource
    from policies.stack import CheckedStack


MOST_EFFECTS = 2
"""Effects that a message names."""


class Kind(NamedTuple):
    """How a type of resources holds a resource policy."""

    service: str
    document: str
    """Name of the input with the policy."""
    target: str
    """Name of the input that says which resource the policy belongs to; empty for the resource itself."""


KINDS = {
    BUCKET_POLICY: Kind("s3", "policy", "bucket"),
    BUCKET: Kind("s3", "policy", "bucket"),
    KEY: Kind("kms", "policy", ""),
    KEY_POLICY: Kind("kms", "policy", "keyId"),
    **{
        f"aws:kms/{name[0].lower()}{name[1:]}:{name}": Kind("kms", "policy", "")
        for name in ("ExternalKey", "ReplicaKey")
    },
    "aws:kms/replicaExternalKey:ReplicaExternalKey": Kind("kms", "policy", ""),
    REPOSITORY_POLICY: Kind("ecr", "policy", "repository"),
    REGISTRY_POLICY: Kind("ecr", "policy", ""),
    REPOSITORY_TEMPLATE: Kind("ecr", "repositoryPolicy", "prefix"),
    "aws:sns/topic:Topic": Kind("sns", "policy", "name"),
    "aws:sns/topicPolicy:TopicPolicy": Kind("sns", "policy", "arn"),
    "aws:sqs/queue:Queue": Kind("sqs", "policy", "name"),
    "aws:sqs/queuePolicy:QueuePolicy": Kind("sqs", "policy", "queueUrl"),
    "aws:secretsmanager/secret:Secret": Kind("secretsmanager", "policy", "name"),
    "aws:secretsmanager/secretPolicy:SecretPolicy": Kind("secretsmanager", "policy", "secretArn"),
}
"""Types with a resource policy."""


def types_of(*services: str) -> list[str]:
    """Return the types that hold a resource policy of some services."""
    return [token for token, kind in KINDS.items() if kind.service in services]


def documents(stack: CheckedStack, *services: str) -> Iterator[tuple[CheckedResource, Field]]:
    """Yield resources with their policy, without those that have none."""
    for resource in stack.of(*types_of(*services)):
        field = resource[KINDS[resource.type].document]
        if not field.absent:
            yield resource, field


def doubles(stack: CheckedStack, types: Iterable[str]) -> Iterator[tuple[CheckedResource, str]]:
    """Yield the resources that set the same thing of the same target as another one, and the name of the target."""
    by_target: defaultdict[tuple[str, str], list[CheckedResource]] = defaultdict(list)
    for resource in stack.of(*types):
        kind = KINDS.get(resource.type, Kind(resource.type, "bucket", "bucket"))
        if not resource[kind.document].absent:
            target = resource[kind.target].text() if kind.target else resource.account
            by_target[kind.service, target or ""].append(resource)
    for (_, target), resources in by_target.items():
        yield from ((resource, target) for resource in resources if len(resources) > 1)


def store_of(stack: CheckedStack, resource: CheckedResource) -> Store:
    """Return the resource that a policy belongs to."""
    organization, kind = stack.run.settings.organization, KINDS[resource.type]
    if kind.service == "s3":
        arn = f"arn:{organization.partition}:s3:::{resource['bucket'].text() or '~'}"
    else:
        arn = f"arn:{organization.partition}:{kind.service}:{organization.region}:{resource.account}:~"
    return Store(service=kind.service, account=resource.account, arn=arn)


def beyond(
    stack: CheckedStack,
    resource: CheckedResource,
    field: Field,
    declared: Callable[[Store, Principal, bool], Collection[Effect]],
) -> Iterator[str]:
    """Yield sentences about what a policy admits beyond what is declared."""
    document, store, inventory = statements(field), store_of(stack, resource), stack.index.access_graph.inventory
    if store.service == "s3":
        # Nobody has a place here, so a statement for somebody is wrong even where a denial takes it back.
        document = tuple(statement for statement in document if statement.effect == ALLOW)
    for statement in allow_statements(field):
        for name in foreign_principals(statement, inventory):
            yield f"{name_of(statement)} admits {name}, which is not an account or a role of the settings"
    principals = principals_for(document, store.account, inventory, our_roles(stack))
    for cell in admitted(document, store, principals, lambda principal, whole: declared(store, principal, whole)):
        effects = [f"{effect} ({action})" for effect, action in cell.effects.items()]
        more = " and more" if len(effects) > MOST_EFFECTS else ""
        yield f"the policy lets {cell.principal} {', '.join(effects[:MOST_EFFECTS])}{more}"
        if cell.principal in (ANYBODY, STRANGER):
            return


def our_roles(stack: CheckedStack) -> list[str]:
    """Return the ARNs of the stack's roles, and of the platform's own in every account."""
    settings = stack.run.settings
    own = [
        role_arn(settings.organization.partition, account.id, PLATFORM_ROLE_PATH, role)
        for account in settings.accounts.values()
        for role in (DEPLOYER_ROLE, READER_ROLE)
    ]
    return [*stack.index.access_graph.roles, *own]
