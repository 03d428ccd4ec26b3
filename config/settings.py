"""Settings of the platform's stacks: the only reader of their configuration.

Parses every object once, reports all problems at once, and returns a frozen value that holds plain Python types. Secrets are
not part of it: `components` ask for them as outputs where they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from config import checks
from config.capabilities import Level
from config.errors import Problem, SettingsError, problems_from_pydantic, quoted, unknown_key
from config.names import Names
from config.sections import (
    Account,
    Alarms,
    Cache,
    Chart,
    Cluster,
    GitLab,
    GitLabOidc,
    Network,
    Organization,
    Platform,
    Registry,
    Runner,
    Tags,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PROJECT = "runner-platform"
SECRET_KEYS = ("tokens",)
"""Keys that hold secrets; read as outputs by `config.secrets`, never here."""
SINGLE: dict[str, type[BaseModel]] = {
    "organization": Organization,
    "platform": Platform,
    "gitlab": GitLab,
    "chart": Chart,
    "network": Network,
    "cluster": Cluster,
    "cache": Cache,
    "registry": Registry,
    "tags": Tags,
    "alarms": Alarms,
}
MAPPINGS: dict[str, type[BaseModel]] = {"accounts": Account, "runners": Runner, "gitlab_oidc": GitLabOidc}
OPTIONAL = frozenset({"registry", "tags", "alarms", "gitlab_oidc"})

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one stack of the platform."""

    stack: str
    organization: Organization
    accounts: Mapping[str, Account]
    platform: Platform
    gitlab: GitLab
    chart: Chart
    runners: Mapping[str, Runner]
    network: Network
    cluster: Cluster
    cache: Cache
    registry: Registry
    tags: Tags
    alarms: Alarms
    gitlab_oidc: Mapping[str, GitLabOidc]

    @property
    def names(self) -> Names:
        """Names of this stack."""
        return Names(organization=self.organization, stack=self.stack)

    @property
    def platform_account(self) -> Account:
        """The account that the platform lives in."""
        return self.accounts[self.platform.account]

    def accounts_of(self, runner_class: str) -> dict[str, Account]:
        """Accounts that a class's jobs may enter, by name: those of its level, narrowed by the class."""
        return {name: a for name, a in self.accounts.items() if self._may_enter(runner_class, name)}

    def _may_enter(self, runner_class: str, account: str) -> bool:
        runner = self.runners[runner_class]
        listed = runner.accounts is None or account in runner.accounts
        return listed and bool(self.accounts[account].capabilities(runner.level))

    def repositories(self) -> list[str]:
        """Names of all container repositories, the runner image's first."""
        listed = {Level.OPEN: self.registry.open, Level.PROTECTED: self.registry.protected}
        own = [f"{self.names.repository_prefix(level)}{name}" for level, names in listed.items() for name in names]
        return list(dict.fromkeys([self.names.runner_image(), *own]))

    def roles_needed(self) -> list[tuple[str, Level]]:
        """Accounts and levels that need a delegated role: the account has something for the level, and a class may enter."""
        return [
            (name, level)
            for name, a in self.accounts.items()
            for level in Level
            if a.capabilities(level) and self.classes_of(name, level)
        ]

    def classes_of(self, account: str, level: Level) -> list[str]:
        """Classes of a level that may enter an account, sorted."""
        return sorted(n for n, r in self.runners.items() if r.level is level and self._may_enter(n, account))


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What could be parsed of a stack's configuration: what checks look at before there are settings."""

    stack: str
    """The stack's name, whatever it is."""
    single: Mapping[str, Any]
    """Objects by key; None where one is absent or wrong."""
    mappings: Mapping[str, Mapping[str, Any]]
    """Named objects by key; wrong ones are left out."""
    listed_accounts: frozenset[str]
    """Names of all accounts of the file, wrong ones too, so that one mistake is said once."""

    @property
    def organization(self) -> Organization | None:
        """The organisation."""
        return cast("Organization | None", self.single["organization"])

    @property
    def platform(self) -> Platform | None:
        """Where the platform lives."""
        return cast("Platform | None", self.single["platform"])

    @property
    def network(self) -> Network | None:
        """The network."""
        return cast("Network | None", self.single["network"])

    @property
    def accounts(self) -> Mapping[str, Account]:
        """Accounts by name."""
        return self.mappings["accounts"]

    @property
    def runners(self) -> Mapping[str, Runner]:
        """Runner classes by name."""
        return self.mappings["runners"]


@dataclass
class Parser:
    """Parses the objects of one configuration and collects what is wrong with them."""

    raw: Mapping[str, Any]
    problems: list[Problem] = field(default_factory=list)

    def refuse_unknown(self, known: Iterable[str]) -> None:
        """Report top-level keys that no program reads."""
        keys = list(known)
        self.problems += [Problem(path=key, message=unknown_key(key, keys)) for key in self.raw if key not in keys]

    def object(self, path: str, model: type[Model], *, required: bool = True) -> Model | None:
        """Parse one top-level object; None where it is absent or wrong."""
        if path not in self.raw and required:
            self.problems.append(
                Problem(path=path, message=f"is missing; add it with {', '.join(required_fields(model))}")
            )
            return None
        return self.value(path, self.raw.get(path, {}), model)

    def value(self, path: str, value: Any, model: type[Model]) -> Model | None:
        """Parse a value as a model; None where it is wrong."""
        if not isinstance(value, dict):
            self.problems.append(
                Problem(
                    path=path,
                    message=f"{quoted(value)} is not an object; write {{{', '.join(required_fields(model))}}}",
                )
            )
            return None
        try:
            return model.model_validate(value)
        except ValidationError as error:
            self.problems += problems_from_pydantic(error.errors(), path, known_fields(model))
            return None

    def mapping(self, path: str, model: type[Model], *, required: bool = True) -> dict[str, Model]:
        """Parse an object of named objects, each on its own; what is wrong is left out of the result."""
        raw = self.raw.get(path, {})
        if not isinstance(raw, dict) or (required and not raw):
            self.problems.append(
                Problem(
                    path=path,
                    message=f"{'is missing or empty' if not raw else quoted(raw) + ' is not an object'}; write at least one <name>: {{{', '.join(required_fields(model))}}}",
                )
            )
            return {}
        parsed = {str(name): self.value(f"{path}.{name}", value, model) for name, value in raw.items()}
        return {name: value for name, value in parsed.items() if value is not None}

    def finish(self, source: str) -> None:
        """Raise all problems at once, if there are any."""
        if self.problems:
            raise SettingsError(source, self.problems)


def required_fields(model: type[BaseModel]) -> list[str]:
    """Names of the fields that must be given."""
    return [name for name, info in model.model_fields.items() if info.is_required()] or list(model.model_fields)


def known_fields(model: type[BaseModel], prefix: str = "") -> dict[str, list[str]]:
    """Field names by dotted path, for "did you mean"."""
    fields = {prefix: list(model.model_fields)}
    for name, info in model.model_fields.items():
        for part in (info.annotation, *getattr(info.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                fields |= known_fields(part, f"{prefix}.{name}".strip("."))
    return fields


def parse(raw: Mapping[str, Any], stack: str, source: str, *further: Callable[[Parsed], Iterable[Problem]]) -> Settings:
    """Parse a stack's configuration.

    Args:
        raw: values by key, without the project's namespace; secrets may be anything.
        stack: the stack's name.
        source: what the error calls it, such as `Pulumi.dev.yaml`.
        further: checks of whoever knows more than settings do; what they find is reported with the rest.

    Raises:
        SettingsError: with every problem that was found.
    """
    parser = Parser(raw)
    parser.refuse_unknown([*SINGLE, *MAPPINGS, *SECRET_KEYS])
    single = {key: parser.object(key, model, required=key not in OPTIONAL) for key, model in SINGLE.items()}
    mappings: dict[str, dict[str, Any]] = {
        key: parser.mapping(key, model, required=key not in OPTIONAL) for key, model in MAPPINGS.items()
    }
    listed = raw.get("accounts")
    parsed = Parsed(
        stack=stack,
        single=single,
        mappings=mappings,
        listed_accounts=frozenset(map(str, listed)) if isinstance(listed, dict) else frozenset(),
    )
    parser.problems += _cross_checks(parsed)
    for check in further:
        parser.problems += check(parsed)
    parser.finish(source)
    return Settings(stack=stack, **single, **mappings)  # type: ignore[arg-type]  # every value was parsed by the model of its key


def _cross_checks(parsed: Parsed) -> Iterable[Problem]:
    accounts, listed = parsed.accounts, parsed.listed_accounts
    yield from checks.stack_name(parsed.stack)
    yield from checks.account_ids(accounts)
    if parsed.platform and listed:
        yield from checks.platform_account(parsed.platform.account, listed)
    if parsed.organization and parsed.platform:
        composed = Names(organization=parsed.organization, stack=parsed.stack)
        home = accounts.get(parsed.platform.account)
        cache = [composed.cache_bucket(home.id)] if home else []
        yield from checks.bucket_names(parsed.organization, accounts, *cache)
        if parsed.single["alarms"]:
            yield from checks.alarm_topic(parsed.single["alarms"], parsed.organization, home)
        yield from checks.runner_tags({name: r.tag or composed.tag(name) for name, r in parsed.runners.items()})
    for name, settings in parsed.runners.items():
        yield from checks.runner(name, settings, accounts, listed)
    for name, role in parsed.mappings["gitlab_oidc"].items():
        yield from checks.gitlab_oidc(name, role, accounts, listed)
    if parsed.single["chart"]:
        yield from checks.pod_security(parsed.runners, parsed.single["chart"])
    if parsed.network and parsed.single["cluster"]:
        yield from checks.networks(parsed.network, parsed.single["cluster"])
