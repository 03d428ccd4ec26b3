"""Rules of storage: images, buckets, keys and the job cache: who may use them, by their own policies and by the permissions of roles.

Both are held against what the settings declare, effect by effect (`access.actions`): who can read, write, delete, or change settings and
policy. What is not declared is a finding, however it is spelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_policy import Severity

from access.actions import Effect
from access.admission import not_denied, principals_for
from access.globs import matches, witnesses
from access.policy_documents import without_variables
from config.partitions import partition_domain
from policies import declared_stores
from policies.declared_stores import CACHE, IMAGES, KEYS, SERVICES, STATE, TOKENS
from policies.resource_policies import beyond, documents, doubles, store_of, types_of
from policies.rule import resource_rule, stack_rule
from policies.runner_config import CONFIG, RunnerConfig
from policies.statements import POWERFUL, condition_values, grants_of, known_texts, reached_in, statements
from policies.type_tokens import (
    ACCOUNT_ACCESS_BLOCK,
    BUCKET,
    BUCKET_OWNERSHIP,
    BUCKET_POLICY,
    KEY,
    KEY_GRANT,
    KEY_POLICY,
    PUBLIC_ACCESS_BLOCK,
    RELEASE,
    REPOSITORY,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from access.admission import Principal, Store
    from policies.declared_stores import Use
    from policies.fields import Field
    from policies.rule import CheckedResource
    from policies.stack import CheckedStack
    from policies.statements import Grant

BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
SECRETS = {"secretsmanager": ":secret:", "ssm": ":parameter/"}
"""Part of the ARN before the name of a secret, by service."""
MOST_RESOURCES = 3
"""Findings of one statement and effect; more would only repeat these."""


@resource_rule(
    "C01",
    "ecr-repository-keeps-its-tags",
    [REPOSITORY],
    demands="tags cannot be moved to another image except in the repositories of registry.mutable, and images are scanned when they are pushed",
    stops="A16: a tag that prod runs is overwritten",
    remedy="Set image_tag_mutability to IMMUTABLE and scan_on_push (components/registry.py), or list a cache in registry.mutable.",
    source="ECR.1, ECR.2, CKV_AWS_51, CKV_AWS_163",
)
def tags_are_kept(repository: CheckedResource) -> Iterator[str]:
    """Immutable tags, scanned images."""
    settings, name = repository.run.platform_settings, repository["name"].text()
    overwritten = settings is not None and settings.repositories().get(name or "", False)
    mutability = repository["imageTagMutability"].text("MUTABLE")
    if mutability not in {"IMMUTABLE", None} and not overwritten:
        yield f"imageTagMutability is {mutability}, not IMMUTABLE, and registry.mutable does not list the repository"
    if repository["imageScanningConfiguration"]["scanOnPush"].flag(default=False) is False:
        yield "imageScanningConfiguration.scanOnPush is off"


@stack_rule(
    "C02",
    "ecr-policy-lets-the-organization-pull",
    demands="other accounts may only pull, and only accounts of the organisation; a repository has one policy",
    stops="A16: a foreign account reads images, or any account pushes them",
    remedy="Keep the policy of components/documents/registry.py.",
    source="CKV_AWS_32, AwsSolutions-ECR1",
)
def organization_pulls(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Policies of repositories and of the registry admit accounts of the organisation, and only to pull."""
    yield from _two_policies(stack, "ecr")
    for resource, field in documents(stack, "ecr"):
        yield from ((resource.urn, text) for text in beyond(stack, resource, field, _pulls(stack)))


def _pulls(stack: CheckedStack) -> Any:
    ours = set(stack.run.account_ids.values())
    return lambda _store, principal, _whole: {Effect.READ} if principal.account in ours else ()


def _two_policies(stack: CheckedStack, service: str) -> Iterator[tuple[str, str]]:
    for resource, target in doubles(stack, types_of(service)):
        yield resource.urn, f"{target} has more than one policy: the last one that is written wins"


@stack_rule(
    "K01",
    "kms-key-policy-leaves-the-key-to-its-account",
    demands="a key's policy leaves the key to its own account's permissions, and admits nobody else; a key has one policy and no grants",
    stops="A29: an open class, another account or a service decrypts state and caches, or takes the key over",
    remedy="Keep the policy of components/documents/storage.py; give roles permissions with the key's alias.",
    source="https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html",
    severity=Severity.CRITICAL,
)
def keys_stay_in_their_account(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Key policies admit the key's own account as a whole."""
    own_policies = [key for key in stack.of(KEY) if not key["policy"].absent]
    for resource, field in documents(stack, "kms"):
        yield from ((resource.urn, text) for text in beyond(stack, resource, field, _own_account))
        if resource.type == KEY_POLICY and own_policies:
            yield resource.urn, "the key has more than one policy: the last one that is written wins"
    for grant in stack.of(KEY_GRANT):
        yield grant.urn, f"a grant lets {grant['granteePrincipal'].text()} use the key beside its policy"


def _own_account(store: Store, principal: Principal, whole: bool) -> Collection[Effect]:
    return tuple(Effect) if whole and principal.account == store.account else ()


@stack_rule(
    "Q01",
    "aws-resource-policy-admits-nobody",
    demands="policies of topics, queues and secrets admit nobody beyond the account's own permissions; each has one policy",
    stops="A15: a service acts for somebody else's resource, or a stranger reads or sends messages",
    remedy="Remove the statement; give our own roles permissions, and write an exception for a service that has to come in.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html",
)
def messages_stay_inside(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """No principal but the account as a whole."""
    for service in ("sns", "sqs", "secretsmanager"):
        yield from _two_policies(stack, service)
    for resource, field in documents(stack, "sns", "sqs", "secretsmanager"):
        yield from ((resource.urn, text) for text in beyond(stack, resource, field, _own_account))


@stack_rule(
    "S01",
    "s3-bucket-stays-closed",
    demands="every bucket blocks public access, refuses plain HTTP and other organisations, admits nobody by its policy, and has no access lists",
    stops="A17: state or caches are read or written from outside, or by another class",
    remedy="Make buckets with components/private_bucket.py.",
    source="S3.5, S3.6, S3.8, S3.12, CKV_AWS_53 to 56, CKV_AWS_70, CKV_AWS_379",
)
def buckets_are_closed(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Public access block, ownership and policy of each bucket; all resources of a kind count."""
    buckets = {bucket["bucket"].text() or "": bucket for bucket in stack.of(BUCKET)}
    guards = [*stack.of(PUBLIC_ACCESS_BLOCK, BUCKET_OWNERSHIP, BUCKET_POLICY)]
    guarded = {(guard.type, guard["bucket"].text() or "") for guard in guards}
    for name, bucket in buckets.items():
        yield from ((bucket.urn, text) for token, text in MISSING.items() if (token, name) not in guarded)
    for guard in (*guards, *stack.of(ACCOUNT_ACCESS_BLOCK)):
        yield from ((guard.urn, text) for text in _guard(guard, set(buckets)))
    for guard, target in doubles(stack, ONE_A_BUCKET):
        yield guard.urn, f"{target} has more than one of these resources: the last one that is written wins"
    yield from _two_policies(stack, "s3")
    for resource, field in documents(stack, "s3"):
        yield from ((resource.urn, text) for text in _bucket_policy(stack, resource, field))


ONE_A_BUCKET = (
    *(PUBLIC_ACCESS_BLOCK, BUCKET_OWNERSHIP, "aws:s3/bucketVersioning:BucketVersioning"),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
)
"""Types of which a bucket takes one resource."""
MISSING = {
    PUBLIC_ACCESS_BLOCK: "public access is not blocked in all four ways",
    BUCKET_OWNERSHIP: "access lists are not switched off (BucketOwnerEnforced)",
    BUCKET_POLICY: "it has no bucket policy, so plain HTTP and other organisations are not refused",
}
"""What a bucket lacks without a resource of a type."""


def _guard(guard: CheckedResource, buckets: set[str]) -> Iterator[str]:
    name = guard["bucket"].text("")
    if name and name not in buckets and "" not in buckets:
        yield f"this stack does not make the bucket {name}: leave it to the stack that does"
    if guard.type == BUCKET_POLICY and guard["policy"].absent:
        yield MISSING[BUCKET_POLICY]
    if guard.type == BUCKET_OWNERSHIP and guard["rule"]["objectOwnership"].text("") not in {
        "BucketOwnerEnforced",
        None,
    }:
        yield MISSING[BUCKET_OWNERSHIP]
    blocks = guard.type in (PUBLIC_ACCESS_BLOCK, ACCOUNT_ACCESS_BLOCK)
    if blocks and any(guard[key].flag(default=False) is False for key in BLOCKS):
        yield MISSING[PUBLIC_ACCESS_BLOCK]


def _bucket_policy(stack: CheckedStack, resource: CheckedResource, field: Field) -> Iterator[str]:
    if field.unknown:
        return
    document, store, inventory = statements(field), store_of(stack, resource), stack.index.access_graph.inventory
    principals = list(principals_for(document, store.account, inventory, ()))
    callers = [principal for principal in principals if not principal.is_service]
    strangers = [principal for principal in callers if principal.account not in inventory.accounts.values()]
    if name := not_denied(document, store, callers, tls=False):
        yield f"no statement refuses all requests without TLS: {name} gets through with some of them"
    if name := not_denied(document, store, strangers, tls=True):
        organization = stack.run.settings.organization.id
        yield f"no statement refuses all principals from outside organisation {organization}: {name} gets through"
    yield from beyond(stack, resource, field, lambda *_: ())


@stack_rule(
    "S02",
    "helm-release-keeps-its-own-cache",
    demands="each class's cache has a prefix of its own in the stack's bucket",
    stops="A17: an open class writes an archive that a protected class unpacks",
    remedy="Keep cache.Path at the class's name (components/documents/config_toml.py).",
    settings=("runners.{runner}",),
    source="cache/cache.go of gitlab-runner; https://gitlab.com/gitlab-org/gitlab/-/issues/330047",
)
def caches_are_apart(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """The bucket of the settings, and the class's name as path; so no path is another class's, nor below or above it."""
    settings = stack.run.platform_settings
    if settings is None:
        return
    bucket = settings.names.cache_bucket(settings.platform_account.id)
    for release in stack.of(RELEASE):
        config = RunnerConfig(release)
        if config.entry.absent:
            release.undecide(CONFIG)
            continue
        cache = config.entry["cache"]
        for field, expected in ((cache["s3"]["BucketName"], bucket), (cache["Path"], config.runner_class)):
            if (text := field.text()) not in {expected, None}:
                yield release.urn, f"{field.path} is {text or 'missing'}, not {expected}"


@stack_rule(
    "P05",
    "iam-policy-pushes-images-of-its-level",
    demands="only delegated roles write images, only to the repositories of their own level, and no role changes repositories",
    stops="A16: a job overwrites an image that prod, or the runner itself, pulls",
    remedy="Grant the capability ecr-push; its document limits the repositories by prefix.",
    settings=("accounts.{account}.{level}",),
    source="CIS EKS 5.1.2, 5.1.3; https://docs.aws.amazon.com/AmazonECR/latest/userguide/security_iam_id-based-policy-examples.html",
    options={"powerful": POWERFUL},
)
def pushes_are_split(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Each level writes below its own prefix; tags, replication and policies are the deployer's."""
    yield from _undeclared(stack, IMAGES)


@stack_rule(
    "P06",
    "iam-policy-writes-its-own-cache",
    demands="only a class's manager uses the class's prefix of the cache, and no role changes the bucket",
    stops="A17: a job writes an archive that another class, or a protected one, unpacks",
    remedy="Keep the document of components/documents/storage.py; jobs get signed URLs from their manager.",
    source="https://docs.gitlab.com/runner/configuration/advanced-configuration/#the-runnerscaches3-section",
    options={"powerful": POWERFUL},
)
def caches_have_one_writer(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """No role but the class's manager uses the class's prefix, and no manager anything beyond it."""
    yield from _undeclared(stack, CACHE)


@stack_rule(
    "P10",
    "iam-policy-uses-state-of-its-level",
    demands="a role reads and writes state of its own level and account, erases no versions, and changes no state bucket",
    stops="A29: a level reads or writes another level's state, or wipes out the versions that would restore its own",
    remedy="Grant the capability state; its document limits the objects by prefix.",
    settings=("accounts.{account}.{level}",),
    source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/security_iam_id-based-policy-examples.html",
    options={"powerful": POWERFUL},
)
def state_is_split(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """State as the capability `state` gives it, and nothing of the buckets themselves."""
    yield from _undeclared(stack, STATE)


@stack_rule(
    "P13",
    "iam-policy-reads-its-own-runner-token",
    demands="only a class's manager on a machine reads the parameter with the class's runner token, and no role changes it",
    stops="A22: a job, or another class's machine, reads a runner token and takes jobs with it",
    remedy="Keep the document of components/documents/machines/roles.py; no AWS managed policy for the SSM agent.",
    source="https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-access.html",
    severity=Severity.CRITICAL,
    options={"powerful": POWERFUL},
)
def tokens_have_one_reader(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """No role but the class's manager reads the parameter."""
    yield from _undeclared(stack, TOKENS)


@stack_rule(
    "P11",
    "iam-policy-uses-its-own-keys",
    demands="a role uses the keys of its own stores by their alias, changes no key, and reads secrets by name",
    stops="A29: a role decrypts what is not its own, hands a key on, or reads every secret of an account",
    remedy="Use the statement of components/documents/storage.py key_by_alias; name the secrets.",
    source="https://docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html",
    severity=Severity.CRITICAL,
    options={"powerful": POWERFUL},
)
def keys_are_own(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Keys by alias and through S3; no secret by a pattern that matches all."""
    yield from _undeclared(stack, KEYS)
    for grant in _ordinary_grants(stack):
        for service in SECRETS:
            for reach, actions in reached_in(grant.statement, grant.field).items():
                if reach == (service, Effect.READ) and any(_matches_every_secret(grant, service)):
                    yield grant.urn, f"{grant.name} lets {grant.holder} read every secret ({actions[0]})"


def _matches_every_secret(grant: Grant, service: str) -> Iterator[bool]:
    for resource in _resources(grant):
        _, separator, name = resource.partition(SECRETS[service])
        yield set(name) <= {"*", "?"} if separator else resource.endswith("*")


def _ordinary_grants(stack: CheckedStack) -> Iterator[Grant]:
    powerful = stack.option("powerful")
    return (grant for grant in grants_of(stack) if grant.holder not in powerful)


def _undeclared(stack: CheckedStack, kind: str) -> Iterator[tuple[str, str]]:
    """Yield what permissions do with stores of a kind beyond what the settings declare."""
    settings = stack.run.settings
    patterns = [
        pattern for place in declared_stores.places(settings) if place.kind == kind for pattern in place.patterns
    ]
    uses = declared_stores.uses(settings)
    for grant in _ordinary_grants(stack):
        declared = uses.get((grant.account, grant.holder), [])
        reached = {
            reach.effect: actions
            for reach, actions in reached_in(grant.statement, grant.field).items()
            if reach.service == SERVICES[kind]
        }
        if kind == IMAGES:
            reached.pop(Effect.READ, None)  # everybody in the organisation pulls
        if kind == TOKENS:
            reached = _about_parameters(reached)
        if not reached:
            continue
        touching = [
            resource for resource in _resources(grant) if any(_touches(resource, pattern) for pattern in patterns)
        ]
        for effect, actions in reached.items():
            wrong = [r for r in touching if not any(_declares(stack, use, grant, effect, r) for use in declared)]
            for resource in wrong[:MOST_RESOURCES]:
                yield grant.urn, f"{grant.name} lets {grant.holder} {VERBS[effect]} {kind}: {actions[0]} on {resource}"


def _about_parameters(reached: Mapping[Effect, list[str]]) -> dict[Effect, list[str]]:
    """Leave out actions of Systems Manager that are about something else than parameters."""
    about = {effect: [action for action in actions if "Parameter" in action] for effect, actions in reached.items()}
    return {effect: actions for effect, actions in about.items() if actions}


VERBS = {
    Effect.READ: "read",
    Effect.WRITE: "write",
    Effect.DELETE: "delete",
    Effect.ERASE: "erase versions of",
    Effect.SETTINGS: "change settings of",
    Effect.POLICY: "change who may use",
    Effect.TAG: "tag",
}


def _resources(grant: Grant) -> list[str]:
    if grant.statement.not_resources:
        return ["*"]
    return [without_variables(resource) for resource in known_texts(grant.statement.resources, grant.field)]


def _touches(resource: str, pattern: str) -> bool:
    """Whether two patterns have a text in common; yes if there are too many to try."""
    texts = witnesses((resource,), within=pattern)
    return texts is None or any(matches(resource, text) for text in texts)


def _declares(stack: CheckedStack, use: Use, grant: Grant, effect: Effect, resource: str) -> bool:
    if not use.allows(effect, resource):
        return False
    if not use.key_aliases:
        return True
    aliases = condition_values(grant.statement, "ForAnyValue:StringEquals", "kms:ResourceAliases", grant.field)
    return aliases is not None and set(aliases) <= use.key_aliases and _through_s3(stack, grant)


def _through_s3(stack: CheckedStack, grant: Grant) -> bool:
    """Whether a key is used by S3 only; the reader uses the key of the platform's secrets itself."""
    if stack.run.platform_settings is None:
        return True
    organization = stack.run.settings.organization
    through_s3 = f"s3.{organization.region}.{partition_domain(organization.partition)}"
    return condition_values(grant.statement, "StringEquals", "kms:ViaService", grant.field) == [through_s3]
