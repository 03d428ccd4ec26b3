"""Rules of storage: container images, buckets, the job cache, and who may write to them.

"May write" is evaluated for an area, such as all objects below a class's prefix: a statement writes there if its pattern matches any name in
the area.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from access.globs import matches, witnesses
from access.policy_documents import without_variables
from config.capabilities import Level
from policies.rule import resource_rule, stack_rule
from policies.runner_config import CONFIG, RunnerConfig
from policies.statements import (
    POWERFUL,
    allow_statements,
    condition_values,
    covers,
    grants_of,
    has_wildcard,
    known_texts,
    name_of,
    principals_of,
    statements,
)
from policies.type_tokens import (
    BUCKET,
    BUCKET_OWNERSHIP,
    BUCKET_POLICY,
    PUBLIC_ACCESS_BLOCK,
    REGISTRY_POLICY,
    RELEASE,
    REPOSITORY,
    REPOSITORY_POLICY,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from access.policy_documents import Statement
    from config.settings import Settings
    from policies.rule import CheckedResource
    from policies.stack import CheckedStack
    from policies.statements import Grant

PULL = ("ecr:batchchecklayeravailability", "ecr:batchgetimage", "ecr:getdownloadurlforlayer")
PUSH = (
    "ecr:PutImage",
    "ecr:InitiateLayerUpload",
    "ecr:UploadLayerPart",
    "ecr:CompleteLayerUpload",
    "ecr:BatchDeleteImage",
)
OBJECTS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:GetObjectVersion")
NO_CLASS = "~"
"""A name that belongs to no level and no class: only a pattern that is too wide matches it."""


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


@resource_rule(
    "C02",
    "ecr-policy-lets-the-organization-pull",
    [REPOSITORY_POLICY, REGISTRY_POLICY],
    demands="other accounts may only pull, and only accounts of the organisation",
    stops="A16: a foreign account reads images, or any account pushes them",
    remedy="Keep the policy of components/documents/registry.py.",
    source="CKV_AWS_32, AwsSolutions-ECR1",
)
def organization_pulls(policy: CheckedResource) -> Iterator[str]:
    """Everybody only together with exactly our organisation, and only to pull."""
    field, organization = policy["policy"], policy.run.settings.organization.id
    for statement in allow_statements(field):
        everybody = any(p.value == "*" for p in statement.principals) or bool(statement.not_principals)
        if everybody and condition_values(statement, "StringEquals", "aws:PrincipalOrgID", field) != [organization]:
            yield f"{name_of(statement)} admits everybody, not only organisation {organization}"
        for principal in principals_of(statement, "AWS", field):
            if principal != "*" and not any(account in principal for account in policy.run.account_ids.values()):
                yield f"{name_of(statement)} admits {principal}, which is not in the settings"
        actions = {action.lower() for action in statement.actions if isinstance(action, str)}
        if statement.not_actions or (extra := sorted(actions - set(PULL))):
            yield f"{name_of(statement)} allows more than to pull{f': {extra[0]}' if not statement.not_actions else ''}"


@stack_rule(
    "S01",
    "s3-bucket-stays-closed",
    demands="every bucket blocks public access, refuses plain HTTP and other organisations, and has no access lists",
    stops="A17: state or caches are read or written from outside",
    remedy="Make buckets with components/private_bucket.py.",
    source="S3.5, S3.6, S3.8, S3.12, CKV_AWS_53 to 56, CKV_AWS_70, CKV_AWS_379",
)
def buckets_are_closed(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Public access block, ownership and policy of each bucket."""
    guards: dict[tuple[str, str], CheckedResource] = {}
    for guard in stack.of(PUBLIC_ACCESS_BLOCK, BUCKET_OWNERSHIP, BUCKET_POLICY):
        guards[(guard.type, guard["bucket"].text() or "")] = guard
    for bucket in stack.of(BUCKET):
        name = bucket["bucket"].text() or ""
        block = guards.get((PUBLIC_ACCESS_BLOCK, name))
        keys = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        if block is None or any(block[key].flag(default=False) is False for key in keys):
            yield bucket.urn, "public access is not blocked in all four ways"
        ownership = guards.get((BUCKET_OWNERSHIP, name))
        if ownership is None or ownership["rule"]["objectOwnership"].text() not in {"BucketOwnerEnforced", None}:
            yield bucket.urn, "access lists are not switched off (BucketOwnerEnforced)"
        policy = guards.get((BUCKET_POLICY, name))
        if policy is None:
            yield bucket.urn, "it has no bucket policy, so plain HTTP and other organisations are not refused"
        else:
            yield from ((policy.urn, text) for text in _bucket_policy(policy))


def _bucket_policy(policy: CheckedResource) -> Iterator[str]:
    field, organization = policy["policy"], policy.run.settings.organization.id
    if field.unknown:
        return
    denials = [statement for statement in statements(field) if statement.effect == "Deny" and _covers_all(statement)]
    if not any(
        condition_values(denial, "Bool", "aws:SecureTransport", field) == ["false"] and len(denial.conditions) == 1
        for denial in denials
    ):
        yield "no statement refuses all requests without TLS"
    if not any(
        condition_values(denial, "StringNotEqualsIfExists", "aws:PrincipalOrgID", field) == [organization]
        for denial in denials
    ):
        yield f"no statement refuses all principals from outside organisation {organization}"
    for statement in allow_statements(field):
        for principal in statement.principals:
            if isinstance(principal.value, str) and has_wildcard(principal.value):
                yield f"{name_of(statement)} admits everybody"


def _covers_all(statement: Statement) -> bool:
    everybody = any(principal.value == "*" for principal in statement.principals)
    return everybody and any(action in {"s3:*", "*"} for action in statement.actions)


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
    demands="only delegated roles push images, and only to the repositories of their own level",
    stops="A16: a job overwrites an image that prod, or the runner itself, pulls",
    remedy="Grant the capability ecr-push; its document limits the repositories by prefix.",
    settings=("accounts.{account}.{level}",),
    source="CIS EKS 5.1.2, 5.1.3; https://docs.aws.amazon.com/AmazonECR/latest/userguide/security_iam_id-based-policy-examples.html",
    options={"powerful": POWERFUL},
)
def pushes_are_split(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Each level pushes below its own prefix, and no role beyond both prefixes."""
    settings = stack.run.platform_settings
    if settings is None:
        return
    levels, organization = level_of_roles(settings), settings.organization
    registry = f"arn:{organization.partition}:ecr:{organization.region}:{settings.platform_account.id}:repository/"
    prefixes = {level: settings.names.repository_prefix(level) for level in Level}
    for grant in grants_of(stack):
        if grant.holder in stack.option("powerful") or not _grants_any(grant, PUSH):
            continue
        for level, prefix in prefixes.items():
            if levels.get(grant.holder) is not level and _matches_area(grant, f"{registry}{prefix}*"):
                yield grant.urn, f"{grant.name} lets {grant.holder} push to {prefix}*"
        if _matches_area(grant, f"{registry}{NO_CLASS}"):
            yield grant.urn, f"{grant.name} lets {grant.holder} push to repositories of no level"


@stack_rule(
    "P06",
    "iam-policy-writes-its-own-cache",
    demands="only a class's manager reads and writes the class's prefix of the cache",
    stops="A17: a job writes an archive that another class, or a protected one, unpacks",
    remedy="Keep the document of components/documents/storage.py; jobs get signed URLs from their manager.",
    source="https://docs.gitlab.com/runner/configuration/advanced-configuration/#the-runnerscaches3-section",
    options={"powerful": POWERFUL},
)
def caches_have_one_writer(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """No role but the class's manager reads or writes below the class's prefix, and no manager beyond it."""
    settings = stack.run.platform_settings
    if settings is None:
        return
    bucket = f"arn:{settings.organization.partition}:s3:::{settings.names.cache_bucket(settings.platform_account.id)}"
    managers = {runner_class: settings.names.manager_role(runner_class) for runner_class in settings.runners}
    for grant in grants_of(stack):
        if grant.holder in stack.option("powerful") or not _grants_any(grant, OBJECTS):
            continue
        for runner_class, manager in managers.items():
            if manager != grant.holder and _matches_area(grant, f"{bucket}/{runner_class}/*"):
                yield grant.urn, f"{grant.name} lets {grant.holder} read or write the cache of class {runner_class}"
        if _matches_area(grant, f"{bucket}/{NO_CLASS}"):
            yield grant.urn, f"{grant.name} lets {grant.holder} read or write the cache beyond its class"


def level_of_roles(settings: Settings) -> dict[str, Level]:
    """Return the trust level of each role that acts for jobs, by role name."""
    names = settings.names
    levels = {names.delegated_role(level): level for level in Level}
    levels |= {names.job_role(runner_class): runner.level for runner_class, runner in settings.runners.items()}
    return levels | {names.gitlab_role(name): role.level for name, role in settings.gitlab_oidc.items()}


def _grants_any(grant: Grant, actions: tuple[str, ...]) -> bool:
    return any(covers(grant.statement, action, grant.field) for action in actions)


def _matches_area(grant: Grant, area: str) -> bool:
    """Whether a statement's resources match some name in an area; yes if there are too many names to try."""
    if grant.statement.not_resources:
        return True
    for resource in known_texts(grant.statement.resources, grant.field):
        pattern = without_variables(resource)
        names = witnesses((pattern,), within=area)
        if names is None or any(matches(pattern, name) for name in names):
            return True
    return False
