"""What the settings declare of the platform's stores: which role may do what with which images, state, caches and keys.

This is written from the settings alone, apart from `components/documents`: rules hold the permissions of roles against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from access import globs
from access.actions import Effect
from components.documents.platform_roles import SECRETS_KEY_ALIAS
from config.capabilities import Capability, Level
from config.names import READER_ROLE, STATE_KEY_ALIAS, state_bucket
from config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from config.foundation import FoundationSettings

IMAGES, STATE, CACHE, KEYS, TOKENS = "images", "state", "the job cache", "keys", "runner tokens"
SERVICES = {IMAGES: "ecr", STATE: "s3", CACHE: "s3", KEYS: "kms", TOKENS: "ssm"}
CONTENT = frozenset({Effect.READ, Effect.WRITE})


class Place(NamedTuple):
    """The stores of one kind in one account."""

    kind: str
    patterns: tuple[str, ...]
    """Patterns of their ARNs."""


@dataclass(frozen=True)
class Use:
    """Something that a role may do."""

    pattern: str
    """Pattern of ARNs."""
    effects: frozenset[Effect]
    key_aliases: frozenset[str] = frozenset()
    """For keys: the aliases that a condition must name."""

    def allows(self, effect: Effect, resource: str) -> bool:
        """Whether this covers an effect on every resource that a pattern matches."""
        # A star in the resource is matched by a star of the pattern only, so the resource is no wider.
        return effect in self.effects and globs.matches(self.pattern, resource)


Holder = tuple[str, str]
"""Account and name of a role."""


def places(settings: Settings | FoundationSettings) -> list[Place]:
    """Return all stores of the platform that a stack's roles could touch."""
    organization = settings.organization
    partition = organization.partition
    buckets = [state_bucket(organization, account.id) for account in settings.accounts.values()]
    keys = tuple(f"arn:{partition}:kms:*:*:{kind}/*" for kind in ("key", "alias"))
    result = [Place(STATE, _bucket(partition, bucket)) for bucket in buckets] + [Place(KEYS, keys)]
    if isinstance(settings, Settings):
        home = settings.platform_account.id
        result.append(Place(CACHE, _bucket(partition, settings.names.cache_bucket(home))))
        result.append(Place(IMAGES, (f"arn:{partition}:ecr:{organization.region}:{home}:repository/*",)))
        result.append(Place(TOKENS, (f"arn:{partition}:ssm:{organization.region}:{home}:parameter/cicd*/token",)))
    return result


def _bucket(partition: str, bucket: str) -> tuple[str, ...]:
    return f"arn:{partition}:s3:::{bucket}", f"arn:{partition}:s3:::{bucket}/*"


def uses(settings: Settings | FoundationSettings) -> Mapping[Holder, list[Use]]:
    """Return what each role may do with the platform's stores."""
    if not isinstance(settings, Settings):
        return {
            (account.id, READER_ROLE): list(_of_reader(settings, account.id)) for account in settings.accounts.values()
        }
    home, names = settings.platform_account.id, settings.names
    result: dict[Holder, list[Use]] = {}
    for account in settings.accounts.values():
        for level in Level:
            result[account.id, names.delegated_role(level)] = list(_of_level(settings, account.id, level))
    for name, role in settings.gitlab_oidc.items():
        account_id = settings.accounts[role.account].id
        result[account_id, names.gitlab_role(name)] = list(_of_level(settings, account_id, role.level))
    for runner_class in settings.runners:
        result[home, names.manager_role(runner_class)] = list(_of_manager(settings, runner_class))
    return result


def _of_level(settings: Settings, account_id: str, level: Level) -> Iterator[Use]:
    """Yield what a role of a level may do by the account's capabilities."""
    names, organization = settings.names, settings.organization
    account = next(account for account in settings.accounts.values() if account.id == account_id)
    capabilities = account.capabilities(level)
    if Capability.STATE in capabilities:
        objects = (
            f"arn:{organization.partition}:s3:::{state_bucket(organization, account_id)}/{names.state_prefix(level)}"
        )
        yield Use(f"{objects}*", CONTENT)
        yield from (Use(f"{objects}{locks}", frozenset({Effect.DELETE})) for locks in ("*.tflock", "*/.pulumi/*"))
        yield _key(settings, account_id, STATE_KEY_ALIAS)
    if Capability.ECR_PUSH in capabilities:
        repositories = f"arn:{organization.partition}:ecr:{organization.region}:{account_id}:repository/"
        yield Use(f"{repositories}{names.repository_prefix(level)}*", frozenset({Effect.WRITE}))


def _of_manager(settings: Settings, runner_class: str) -> Iterator[Use]:
    names, home = settings.names, settings.platform_account.id
    objects = f"arn:{settings.organization.partition}:s3:::{names.cache_bucket(home)}/{runner_class}/*"
    yield Use(objects, CONTENT | {Effect.DELETE})
    yield _key(settings, home, names.key_alias("cache"))
    if runner_class in settings.machine_classes:
        organization, parameter = settings.organization, names.token_parameter(runner_class)
        arn = f"arn:{organization.partition}:ssm:{organization.region}:{home}:parameter{parameter}"
        yield Use(arn, frozenset({Effect.READ}))


def _of_reader(settings: FoundationSettings, account_id: str) -> Iterator[Use]:
    organization = settings.organization
    bucket = state_bucket(organization, settings.accounts[settings.platform.state_account].id)
    yield Use(f"arn:{organization.partition}:s3:::{bucket}/platform/*", frozenset({Effect.READ}))
    yield _key(settings, account_id, SECRETS_KEY_ALIAS, STATE_KEY_ALIAS)


def _key(settings: Settings | FoundationSettings, account_id: str, *aliases: str) -> Use:
    organization = settings.organization
    keys = f"arn:{organization.partition}:kms:{organization.region}:{account_id}:key/*"
    return Use(keys, CONTENT, frozenset(aliases))
