"""Settings of the platform's stacks: parsed once from a stack file, with all problems reported at once.

`Settings` is frozen and holds plain Python types. Secrets are not part of it; components read them as outputs (`config.secrets`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from config import checks
from config.capabilities import Level
from config.errors import FieldError, Problem, SettingsError, problems_from_pydantic, quoted, unknown_key
from config.names import Names
from config.redaction import REVOKE, kind_of
from config.runner_checks import RUNNER_CHECKS
from config.runners import (
    MACHINE_RUNNERS,
    AutoscalerRunner,
    DockerRunner,
    FargateRunner,
    KubernetesRunner,
    Runner,
    executor_of,
    model_of,
    of_kubernetes,
    refusals_of,
)
from config.sections import (
    Account,
    Alarms,
    Cache,
    Chart,
    Cluster,
    GitLab,
    GitLabOidc,
    Machines,
    Network,
    Organization,
    Platform,
    Registry,
    Tags,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

PROJECT = "runner-platform"
SECRET_KEYS = ("tokens",)
"""Keys that hold secrets; read as outputs by `config.secrets`, never here."""
OBJECTS: dict[str, type[BaseModel]] = {
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
    "machines": Machines,
}
"""Keys that hold one object."""
MAPPINGS: dict[str, type[BaseModel]] = {"accounts": Account, "runners": Runner, "gitlab_oidc": GitLabOidc}
"""Keys that hold objects by name."""
OPTIONAL = frozenset({"registry", "tags", "alarms", "machines", "gitlab_oidc"})
FOR_KUBERNETES = frozenset({"cluster", "chart"})
"""Keys that belong to a stack if one of its classes has the executor `kubernetes`, and to no other."""

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one stack of the platform."""

    stack: str
    organization: Organization
    accounts: Mapping[str, Account]
    platform: Platform
    gitlab: GitLab
    chart: Chart | None
    """None without a class on Kubernetes."""
    runners: Mapping[str, Runner]
    network: Network
    cluster: Cluster | None
    """None without a class on Kubernetes."""
    cache: Cache
    registry: Registry
    tags: Tags
    alarms: Alarms
    machines: Machines
    gitlab_oidc: Mapping[str, GitLabOidc]

    @property
    def names(self) -> Names:
        """Names of this stack."""
        return Names(organization=self.organization, stack=self.stack, organization_policy=self.platform.boundary)

    @property
    def platform_account(self) -> Account:
        """The account that the platform lives in."""
        return self.accounts[self.platform.account]

    @property
    def longest_jobs(self) -> dict[str, int]:
        """Seconds of the longest job, by runner class."""
        return {name: runner.longest_job for name, runner in self.runners.items()}

    def accounts_of(self, runner_class: str) -> dict[str, Account]:
        """Return the accounts that a class's jobs may enter, by name."""
        runner = self.runners[runner_class]
        return {name: account for name, account in self.accounts.items() if runner.may_enter(name, account)}

    def classes_of(self, account: str, level: Level) -> list[str]:
        """Return the names of a level's classes that may enter an account, sorted."""
        return classes_that_enter(self.runners, account, self.accounts[account], level)

    def roles_needed(self) -> list[tuple[str, Level]]:
        """Return the accounts and levels that need a delegated role, because a class of the level may enter."""
        return [(name, level) for name in self.accounts for level in Level if self.classes_of(name, level)]

    def job_roles(self, account: str) -> dict[Level, list[str]]:
        """Return the names of the job roles that may enter an account, by level; levels without any are left out."""
        return {
            level: [self.names.job_role(runner_class) for runner_class in classes]
            for level in Level
            if (classes := self.classes_of(account, level))
        }

    def gitlab_roles(self, account: str) -> dict[str, GitLabOidc]:
        """Return the entries of `gitlab_oidc` for an account, by name."""
        return {name: role for name, role in self.gitlab_oidc.items() if role.account == account}

    def runner_tags(self, runner_class: str) -> tuple[str, ...]:
        """Return the GitLab tags that together select a class."""
        return self.runners[runner_class].tags_in_gitlab(self.names.tag(runner_class))

    def repositories(self) -> dict[str, bool]:
        """Return whether tags may be overwritten, by name of every container repository, the runner image's first."""
        repositories = {self.names.runner_image(): False}
        for level in Level:
            for path, name in self.registry.entries(level):
                repositories.setdefault(f"{self.names.repository_prefix(level)}{name}", ".mutable." in path)
        return repositories

    @property
    def kubernetes_classes(self) -> dict[str, KubernetesClassSettings]:
        """Settings of the classes whose jobs are pods, by name."""
        return {
            name: KubernetesClassSettings(
                **self._class_parts(name),
                runner=runner,
                chart=self.chart,
            )
            for name, runner in of_kubernetes(self.runners).items()
            if self.chart is not None
        }

    @property
    def machine_classes(self) -> dict[str, MachineClassSettings]:
        """Settings of the classes whose manager is an EC2 instance, by name."""
        return {
            name: MachineClassSettings(
                **self._class_parts(name),
                runner=runner,
                machines=self.machines,
                public=self.network.nat == "none",
            )
            for name, runner in self.runners.items()
            if isinstance(runner, MACHINE_RUNNERS)
        }

    def runner_class(self, name: str) -> KubernetesClassSettings | MachineClassSettings:
        """Return the settings of one runner class."""
        return self.kubernetes_classes.get(name) or self.machine_classes[name]

    def _class_parts(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "tags": self.runner_tags(name),
            "names": self.names,
            "platform_account_id": self.platform_account.id,
            "accounts": self.accounts_of(name),
            "gitlab": self.gitlab,
            "endpoint_cidrs": self.network.endpoint_cidrs,
        }


@dataclass(frozen=True, kw_only=True)
class RunnerClassSettings:
    """Settings of one runner class, for its components and documents: the part that is the same for all executors."""

    name: str
    """The class: its key below `runners`."""
    runner: Runner
    """Level, size and limits."""
    tags: tuple[str, ...]
    """GitLab tags that together select the class."""
    names: Names
    """Names of the stack."""
    platform_account_id: str
    """Account that its jobs run in."""
    accounts: Mapping[str, Account]
    """Accounts that its jobs may enter, by name."""
    gitlab: GitLab
    """The GitLab instance that sends the jobs."""
    endpoint_cidrs: Sequence[str]
    """Subnets with interface endpoints that jobs may reach at port 443."""


@dataclass(frozen=True, kw_only=True)
class KubernetesClassSettings(RunnerClassSettings):
    """Settings of a class whose jobs are pods."""

    runner: KubernetesRunner
    """Level, size and limits."""
    chart: Chart
    """Source of the gitlab-runner chart."""


@dataclass(frozen=True, kw_only=True)
class MachineClassSettings(RunnerClassSettings):
    """Settings of a class whose manager is an EC2 instance."""

    runner: DockerRunner | AutoscalerRunner | FargateRunner
    """Level, size and limits."""
    machines: Machines
    """What all machines of the stack have in common."""
    public: bool
    """Whether machines have public addresses, because the network has no NAT gateway."""


def classes_that_enter(runners: Mapping[str, Runner], account_name: str, account: Account, level: Level) -> list[str]:
    """Return the names of a level's classes that may enter an account, sorted."""
    return sorted(
        name for name, runner in runners.items() if runner.level is level and runner.may_enter(account_name, account)
    )


@dataclass
class Parser:
    """Parse the objects of one configuration, and collect the problems."""

    raw: Mapping[str, Any]
    problems: list[Problem] = field(default_factory=list)
    _settled: int = 0
    """How many problems are about values that no reader may take."""

    def refuse_unknown(self, valid_keys: Iterable[str]) -> None:
        """Report top-level keys that the program does not read."""
        keys = list(valid_keys)
        self.problems += [Problem(path=key, message=unknown_key(key, keys)) for key in self.raw if key not in keys]

    def refuse_secrets(self) -> None:
        """Report secrets in clear, encrypted values that the program would not read, and runner tokens that are not encrypted.

        Of a path that has a problem by now, further problems are not reported: they would speak of the same value.
        """
        reported = {problem.path for problem in self.problems}
        self.problems += [problem for problem in _secrets(self.raw) if problem.path not in reported]
        self._settled = len(self.problems)

    def object(self, path: str, model: type[Model], *, required: bool = True) -> Model | None:
        """Parse one top-level object; return None if it is missing or wrong."""
        if path not in self.raw and required:
            self.problems.append(
                Problem(path=path, message=f"is missing; add it with {', '.join(required_fields(model))}")
            )
            return None
        return self.value(path, self.raw.get(path, {}), model)

    def for_kubernetes(self, path: str, model: type[Model]) -> Model | None:
        """Parse an object that a stack has if one of its classes is of Kubernetes; return None if it is missing or wrong."""
        runners = self.raw.get("runners")
        executors = (
            {str(name): executor_of(value) for name, value in runners.items()} if isinstance(runners, dict) else {}
        )
        classes = sorted(name for name, executor in executors.items() if executor == "kubernetes")
        present = bool(self.raw.get(path))
        if classes and not present:
            message = f"is missing, and {', '.join(classes)} of runners {'are' if len(classes) > 1 else 'is'} of executor kubernetes; add it with "
            self.problems.append(Problem(path=path, message=message + ", ".join(required_fields(model))))
        if present and executors and not {"kubernetes", None}.intersection(executors.values()):
            self.problems.append(
                Problem(path=path, message="is not used, since no class is of executor kubernetes; drop it")
            )
        return self.value(path, self.raw[path], model) if present else None

    def value(self, path: str, value: Any, model: type[Model]) -> Model | None:
        """Parse a value as a model; return None if it is wrong."""
        if not isinstance(value, dict):
            example = f"{{{', '.join(required_fields(model))}}}"
            self.problems.append(Problem(path=path, message=f"{quoted(value)} is not an object; write {example}"))
            return None
        try:
            return model.model_validate(value)
        except ValidationError as error:
            refusals = refusals_of(model) if issubclass(model, Runner) else {}
            self.problems += problems_from_pydantic(error.errors(), path, fields_by_path(model), refusals)
            return None

    def runner(self, path: str, value: Any) -> Runner | None:
        """Parse a runner class by the model of its executor; return None if it is wrong."""
        try:
            return self.value(path, value, model_of(value))
        except FieldError as error:
            self.problems.append(Problem(path=path, message=str(error)))
            return None

    def mapping(self, path: str, model: type[Model], *, required: bool = True) -> dict[str, Model]:
        """Parse an object of named objects; the result leaves out wrong ones."""
        raw = self.raw.get(path, {})
        if not isinstance(raw, dict) or (required and not raw):
            mistake = "is missing or empty" if not raw else f"{quoted(raw)} is not an object"
            example = f"<name>: {{{', '.join(required_fields(model))}}}"
            self.problems.append(Problem(path=path, message=f"{mistake}; write at least one {example}"))
            return {}
        # The engine hands over objects sorted by name, so that the order in a file never counts.
        parse_one: Callable[[str, Any], Any] = self.runner if model is Runner else partial(self.value, model=model)
        parsed = {str(name): parse_one(f"{path}.{name}", value) for name, value in sorted(raw.items())}
        return {name: value for name, value in parsed.items() if value is not None}

    def account_names(self) -> frozenset[str] | None:
        """Return the names of all accounts, also of those with mistakes; None if there are no accounts."""
        accounts = self.raw.get("accounts")
        return frozenset(map(str, accounts)) if isinstance(accounts, dict) and accounts else None

    def finish(self, source: str) -> None:
        """Raise all problems at once.

        Raises:
            SettingsError: there are problems.
        """
        settled = self.problems[: self._settled]
        paths = {problem.path for problem in settled}
        problems = [*settled, *(problem for problem in self.problems[self._settled :] if problem.path not in paths)]
        if problems:
            raise SettingsError(source, problems)


def is_encrypted(value: Any) -> bool:
    """Return whether a value is one that `pulumi config set --secret` writes."""
    return isinstance(value, dict) and value.keys() == {"secure"} and isinstance(value["secure"], str)


def _secrets(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for path, value in _values(raw):
        if path.partition(".")[0] in SECRET_KEYS:
            continue
        if isinstance(value, str) and (kind := kind_of(value)):
            yield Problem(path=path, message=f"holds {kind} in clear; {REVOKE}")
        elif is_encrypted(value):
            yield Problem(
                path=path, message="is encrypted, and the program reads no secret here; write it without --secret"
            )
    tokens, runners = raw.get("tokens", {}), raw.get("runners")
    if is_encrypted(tokens):
        return
    classes = {str(name) for name in runners} if isinstance(runners, dict) else set()
    for name, value in tokens.items() if isinstance(tokens, dict) else [("<class>", tokens)]:
        if not is_encrypted(value):
            yield Problem(
                path=f"tokens.{name}",
                message="is not encrypted; take it out, revoke the token, and store a new one: "
                f"pulumi config set --secret --path '{PROJECT}:tokens.{name}'",
            )
        elif str(name) not in classes:
            yield Problem(path=f"tokens.{name}", message=unknown_key(str(name), classes).replace("setting", "class"))


def _values(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Walk all values and keys of nested objects and lists, each with its path."""
    yield path, value
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        member_path = f"{path}.{key}".removeprefix(".")
        if isinstance(key, str):
            yield member_path, key
        yield from _values(member, member_path)


def required_fields(model: type[BaseModel]) -> list[str]:
    """Return the names of a model's required fields, or of all fields if none is required."""
    return [name for name, info in model.model_fields.items() if info.is_required()] or list(model.model_fields)


def fields_by_path(model: type[BaseModel], prefix: str = "") -> dict[str, list[str]]:
    """Return the field names of a model and of the models in it, by dotted path."""
    fields = {prefix: list(model.model_fields)}
    for name, info in model.model_fields.items():
        for part in (info.annotation, *getattr(info.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                fields |= fields_by_path(part, f"{prefix}.{name}".strip("."))
    return fields


def parse(
    raw: Mapping[str, Any], stack: str, source: str, *more_checks: checks.Check, problems: Sequence[Problem] = ()
) -> Settings:
    """Parse a stack's configuration.

    Args:
        raw: values by key, without the project's namespace; secrets may be anything.
        stack: the stack's name.
        source: name of the configuration in the error, such as `Pulumi.dev.yaml`.
        more_checks: rules beside those of `config.checks`, in the same form.
        problems: what the reader of the file found, to be reported with the rest.

    Raises:
        SettingsError: with every problem.
    """
    parser = Parser(raw, list(problems))
    parser.refuse_secrets()
    parser.refuse_unknown([*OBJECTS, *MAPPINGS, *SECRET_KEYS])
    values: dict[str, Any] = {"stack": stack, "account_names": parser.account_names()}
    for key, model in OBJECTS.items():
        if key in FOR_KUBERNETES:
            values[key] = parser.for_kubernetes(key, model)
        else:
            values[key] = parser.object(key, model, required=key not in OPTIONAL)
    for key, model in MAPPINGS.items():
        values[key] = parser.mapping(key, model, required=key not in OPTIONAL)
    parser.problems += checks.run([*checks.STACK_CHECKS, *RUNNER_CHECKS, *more_checks], values)
    parser.finish(source)
    del values["account_names"]
    return Settings(**values)
