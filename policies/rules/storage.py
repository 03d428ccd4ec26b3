"""Rules of what is kept: container images, buckets, the job cache, and who may write to them.

Who may write is asked with areas, such as all objects below a class's prefix: a statement whose pattern fits any name in an area writes there.
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
    allowed,
    grants_of,
    has_wildcard,
    known,
    place,
    principals,
    speaks_of,
    statements,
    values_of,
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
ELSEWHERE = "~"
"""A name that belongs to no level and no class: only a pattern that is too wide fits it."""


@resource_rule(
    "C01",
    "ecr-repository-keeps-its-tags",
    [REPOSITORY],
    demands="tags cannot be moved to another image, and images are scanned when they are pushed",
    stops="A16: a tag that prod runs is overwritten",
    remedy="Set image_tag_mutability to IMMUTABLE and scan_on_push (components/registry.py).",
    source="ECR.1, ECR.2, CKV_AWS_51, CKV_AWS_163",
)
def tags_are_kept(repository: CheckedResource) -> Iterator[str]:
    """Immutable, scanned."""
    if repository["imageTagMutability"].text("MUTABLE") not in {"IMMUTABLE", None}:
        yield "imageTagMutability is not IMMUTABLE"
    if repository["imageScanningConfiguration"]["scanOnPush"].flag(default=False) is False:
        yield "imageScanningConfiguration.scanOnPush is off"


@resource_rule(
    "C02",
    "ecr-policy-lets-the-organization-pull",
    [REPOSITORY_POLICY, REGISTRY_POLICY],
    demands="other accounts pull, and only those of the organisation",
    stops="A16: a foreign account reads images, or any account pushes them",
    remedy="Keep the policy of components/documents/registry.py.",
    source="CKV_AWS_32, AwsSolutions-ECR1",
)
def organization_pulls(case: CheckedResource) -> Iterator[str]:
    """Anybody only with exactly our organisation, and only to pull."""
    field, settings = case["policy"], case.surroundings.settings
    for statement in allowed(field):
        everybody = any(each.value == "*" for each in statement.principals) or bool(statement.not_principals)
        if everybody and values_of(statement, "StringEquals", "aws:PrincipalOrgID", field) != [
            settings.organization.id
        ]:
            yield f"{place(statement)} lets in everybody, and not just organisation {settings.organization.id}"
        for principal in principals(statement, "AWS", field):
            if principal != "*" and not any(its in principal for its in case.surroundings.account_ids.values()):
                yield f"{place(statement)} lets in {principal}, which the settings do not list"
        actions = {each.lower() for each in statement.actions if isinstance(each, str)}
        if statement.not_actions or (extra := sorted(actions - set(PULL))):
            yield f"{place(statement)} allows more than to pull{f': {extra[0]}' if not statement.not_actions else ''}"


@stack_rule(
    "S01",
    "s3-bucket-stays-closed",
    demands="every bucket blocks public access, refuses plain HTTP and other organisations, and has no access lists",
    stops="A17: state or caches are read or written from outside",
    remedy="Make buckets with components/private_bucket.py.",
    source="S3.5, S3.6, S3.8, S3.12, CKV_AWS_53 to 56, CKV_AWS_70, CKV_AWS_379",
)
def buckets_are_closed(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Public access block, ownership, policy, of each bucket."""
    guards: dict[tuple[str, str], CheckedResource] = {}
    for case in stack.of(PUBLIC_ACCESS_BLOCK, BUCKET_OWNERSHIP, BUCKET_POLICY):
        guards[(case.type, case["bucket"].text() or "")] = case
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
            yield bucket.urn, "it has no bucket policy: plain HTTP and other organisations are not refused"
        else:
            yield from ((policy.urn, text) for text in _bucket_policy(policy))


def _bucket_policy(policy: CheckedResource) -> Iterator[str]:
    field, organization = policy["policy"], policy.surroundings.settings.organization.id
    if field.unknown:
        return
    found = statements(field)
    denials = [each for each in found if each.effect == "Deny" and _everything(each)]
    if not any(
        values_of(each, "Bool", "aws:SecureTransport", field) == ["false"] and len(each.conditions) == 1
        for each in denials
    ):
        yield "no statement refuses everything that comes without TLS"
    if not any(
        values_of(each, "StringNotEqualsIfExists", "aws:PrincipalOrgID", field) == [organization] for each in denials
    ):
        yield f"no statement refuses everybody from outside organisation {organization}"
    for statement in allowed(field):
        for principal in statement.principals:
            if isinstance(principal.value, str) and has_wildcard(principal.value):
                yield f"{place(statement)} lets everybody in"


def _everything(statement: Statement) -> bool:
    everybody = any(each.value == "*" for each in statement.principals)
    return everybody and any(each in {"s3:*", "*"} for each in statement.actions)


@stack_rule(
    "S02",
    "helm-release-keeps-its-own-cache",
    demands="each class's cache has a prefix of its own in the stack's bucket",
    stops="A17: an open class leaves an archive that a protected class unpacks",
    remedy="Keep cache.Path at the class's name (components/documents/config_toml.py).",
    settings=("runners.{runner}",),
    source="cache/cache.go of gitlab-runner; https://gitlab.com/gitlab-org/gitlab/-/issues/330047",
)
def caches_are_apart(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Bucket of the settings, a path no other class has or is below."""
    settings = stack.surroundings.runners
    if settings is None:
        return
    bucket = settings.names.cache_bucket(settings.platform_account.id)
    paths: dict[str, str] = {}
    for release in stack.of(RELEASE):
        config = RunnerConfig(release)
        cache = config.entry["cache"]
        if config.entry.absent:
            release.undecide(CONFIG)
            continue
        if cache["s3"]["BucketName"].text() not in {bucket, None}:
            yield release.urn, f"{cache['s3']['BucketName'].path} is not the stack's cache bucket"
        path = (cache["Path"].text("") or "").strip("/")
        for other, urn in paths.items():
            if f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/") or not path:
                yield (
                    release.urn,
                    f"{cache['Path'].path} is {path or 'empty'}, and {urn.rpartition('::')[2]} uses {other}",
                )
        paths[path] = release.urn
        for field in config.environment():
            if "CACHE" in field.path.upper():
                yield release.urn, f"{field.path} sets the cache beside the configuration"


@stack_rule(
    "P05",
    "iam-policy-pushes-images-of-its-level",
    demands="only delegated roles push images, each to the repositories of its own level",
    stops="A16: a job overwrites an image that prod, or the runner itself, pulls",
    remedy="Grant the capability ecr-push; its document limits the repositories by prefix.",
    settings=("accounts.{account}.{level}",),
    source="CIS EKS 5.1.2, 5.1.3; https://docs.aws.amazon.com/AmazonECR/latest/userguide/security_iam_id-based-policy-examples.html",
    options={"powerful": POWERFUL},
)
def pushes_are_split(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Each level writes below its own prefix, and nobody beyond both."""
    settings = stack.surroundings.runners
    if settings is None:
        return
    levels = level_of_roles(settings)
    here = f"arn:{settings.organization.partition}:ecr:{settings.organization.region}:{settings.platform_account.id}:repository/"
    prefixes = {level: settings.names.repository_prefix(level) for level in Level}
    for grant in grants_of(stack):
        if grant.holder in stack.option("powerful") or not _speaks(grant, PUSH):
            continue
        for level, prefix in prefixes.items():
            if levels.get(grant.holder) is not level and _touches(grant, f"{here}{prefix}*"):
                yield grant.urn, f"{place(grant.statement)} lets {grant.holder} push to {prefix}*"
        if _touches(grant, f"{here}{ELSEWHERE}"):
            yield grant.urn, f"{place(grant.statement)} lets {grant.holder} push to repositories of no level"


@stack_rule(
    "P06",
    "iam-policy-writes-its-own-cache",
    demands="only a class's manager reads and writes the class's prefix of the cache",
    stops="A17: a job writes what another class, or a protected one, unpacks",
    remedy="Keep the document of components/documents/storage.py; jobs get signed URLs from their manager.",
    source="https://docs.gitlab.com/runner/configuration/advanced-configuration/#the-runnerscaches3-section",
    options={"powerful": POWERFUL},
)
def caches_have_one_writer(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """No role but its manager's reads or writes below a class's prefix, nor a manager beyond."""
    settings = stack.surroundings.runners
    if settings is None:
        return
    bucket = f"arn:{settings.organization.partition}:s3:::{settings.names.cache_bucket(settings.platform_account.id)}"
    managers = {each: settings.names.manager_role(each) for each in settings.runners}
    for grant in grants_of(stack):
        if grant.holder in stack.option("powerful") or not _speaks(grant, OBJECTS):
            continue
        for runner_class, manager in managers.items():
            if manager != grant.holder and _touches(grant, f"{bucket}/{runner_class}/*"):
                yield grant.urn, f"{place(grant.statement)} lets {grant.holder} at the cache of {runner_class}"
        if _touches(grant, f"{bucket}/{ELSEWHERE}"):
            yield grant.urn, f"{place(grant.statement)} lets {grant.holder} at the cache beyond its class"


def level_of_roles(settings: Settings) -> dict[str, Level]:
    """Names of roles that act for jobs, and the trust level of those jobs."""
    names = settings.names
    found = {names.delegated_role(level): level for level in Level}
    found |= {names.job_role(each): its.level for each, its in settings.runners.items()}
    return found | {names.gitlab_role(name): each.level for name, each in settings.gitlab_oidc.items()}


def _speaks(grant: Grant, actions: tuple[str, ...]) -> bool:
    return any(speaks_of(grant.statement, each, grant.field) for each in actions)


def _touches(grant: Grant, area: str) -> bool:
    """Whether some name of an area fits a statement's resources; yes where there are too many to look at."""
    if grant.statement.not_resources:
        return True
    for resource in known(grant.statement.resources, grant.field):
        found = witnesses((without_variables(resource),), within=area)
        if found is None or any(matches(without_variables(resource), each) for each in found):
            return True
    return False
