"""Jobs of a configuration: default values, variables, and the rules that decide whether and how a job runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from runner_platform_sandbox.gitlab.ci import copies, document, durations, environments, rules, schema, values
from runner_platform_sandbox.gitlab.ci.context import slug
from runner_platform_sandbox.gitlab.ci.pipeline import Environment, Job
from runner_platform_sandbox.gitlab.ci.variables import Variable, expand, expanded, merged, values_of

if TYPE_CHECKING:
    from runner_platform_sandbox.gitlab.ci.context import Context, Files
    from runner_platform_sandbox.gitlab.ci.copies import Copy

_LISTS: Final = ("rules", "needs", "script", "before_script", "after_script", "tags", "dependencies")
"""Keywords whose lists `!reference` may nest."""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What all jobs of a pipeline share."""

    context: Context
    files: Files
    defaults: Mapping[str, Any]
    """Values of `default`."""
    root_variables: tuple[Variable, ...]
    """Variables of the top level and of the matching workflow rule."""
    has_workflow_rules: bool


def variables_around(
    context: Context, own: tuple[Variable, ...], environment: str | None = None
) -> tuple[Variable, ...]:
    """Return variables in GitLab's order of precedence, the lowest first (lib/gitlab/ci/variables/builder.rb of GitLab).

    Args:
        context: Situation of the pipeline.
        own: Variables of the job's name and stage, then those of the file.
        environment: Name of the job's environment; decides about variables with a scope.
    """
    settings = (
        variable
        for variable in context.project_variables
        if environments.in_scope(variable.environment_scope, environment)
        and (context.protected or not variable.protected)
    )
    predefined = [Variable(name=name, value=value) for name, value in context.variables().items()]
    return merged(
        predefined,
        own,
        (variable for variable in predefined if variable.name.startswith("GITLAB_USER_")),
        settings,
        (Variable(name=name, value=value) for name, value in context.pipeline_variables.items()),
    )


def with_defaults(name: str, job: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's keywords, checked, with those of `default` that it inherits."""
    flattened = {
        key: document.flat(value) if key in _LISTS and isinstance(value, list) else value
        for key, value in job.items()
        if value is not None  # null takes away what `extends` brings
    }
    schema.check_job(name, flattened)
    inherit = job.get("inherit", {}).get("default", True)
    inherited = {key: value for key, value in defaults.items() if inherit is True or (inherit and key in inherit)}
    return {**inherited, **flattened}


class JobReader:
    """Makes the copies of one job.

    Args:
        name: Name in the file.
        config: Keywords, with defaults.
        shared: What all jobs share.
    """

    def __init__(self, name: str, config: Mapping[str, Any], shared: Shared) -> None:
        self._name = name
        self._config = config
        self._shared = shared
        self._stage = config.get("stage", "test")

    def jobs(self) -> list[tuple[Job, list[Any] | None]]:
        """Return the copies that run, each with its `needs` as written."""
        jobs = (self._job(copy) for copy in copies.of_job(self._name, self._config.get("parallel")))
        return [job for job in jobs if job is not None]

    def _job(self, copy: Copy) -> tuple[Job, list[Any] | None] | None:
        context = self._shared.context
        before_rules = self._variables(copy, ())
        environment = self._environment_name(before_rules)
        around = variables_around(context, before_rules, environment)
        rule = self._rule(around)
        if rule is None or rule.get("when") == "never":
            return None
        own = self._variables(copy, values.variables(rule.get("variables")))
        simple = values_of(expanded(variables_around(context, own, environment)))
        place = self._environment(environment, simple)
        around = variables_around(context, merged(_of_environment(place), own), environment)
        return self._build(copy, {**self._config, **_of_rule(rule)}, around, place), rule.get(
            "needs", self._config.get("needs")
        )

    def _variables(self, copy: Copy, of_rule: tuple[Variable, ...]) -> tuple[Variable, ...]:
        inherit = self._config.get("inherit", {}).get("variables", True)
        root = [item for item in self._shared.root_variables if inherit is True or (inherit and item.name in inherit)]
        predefined = {
            "CI_JOB_NAME": copy.name,
            "CI_JOB_NAME_SLUG": slug(copy.name),
            "CI_JOB_STAGE": self._stage,
            "CI_JOB_GROUP_NAME": self._name,
            "CI_NODE_TOTAL": str(copy.total),
            **({"CI_NODE_INDEX": str(copy.number)} if copy.parallel else {}),
            **({"CI_JOB_MANUAL": "true"} if self._config.get("when") in {"manual", "delayed"} else {}),
        }
        return merged(
            values.variables(predefined),
            root,
            values.variables(self._config.get("variables")),
            values.variables(copy.matrix),
            of_rule,
        )

    def _rule(self, around: tuple[Variable, ...]) -> Mapping[str, Any] | None:
        if self._config.get("rules") is None:
            refused = self._shared.context.for_merge_request and not self._shared.has_workflow_rules
            return None if refused else {}
        raw, expanded_values = values_of(around), values_of(expanded(around))
        situation = rules.Situation(
            context=self._shared.context, files=self._shared.files, raw=raw, values=expanded_values
        )
        return rules.matching(self._config["rules"], situation, f"job {self._name}: rules")

    def _environment_name(self, own: tuple[Variable, ...]) -> str | None:
        config = self._config.get("environment")
        if config is None:
            return None
        simple = values_of(expanded(variables_around(self._shared.context, own)))
        return expand(config if isinstance(config, str) else config["name"], simple, unknown="")

    def _environment(self, name: str | None, simple: Mapping[str, str]) -> Environment | None:
        if name is None:
            return None
        config = self._config["environment"]
        config = config if isinstance(config, Mapping) else {}
        return Environment(
            name=name,
            url=config.get("url"),
            action=config.get("action", "start"),
            deployment_tier=config.get("deployment_tier") or environments.tier(name),
            on_stop=config.get("on_stop"),
            auto_stop_in=expand(config["auto_stop_in"], simple) if "auto_stop_in" in config else None,
        )

    def _build(
        self, copy: Copy, config: Mapping[str, Any], around: tuple[Variable, ...], environment: Environment | None
    ) -> Job:
        where = f"job {self._name}"
        allow_failure = config.get("allow_failure", self._config.get("when") == "manual")
        simple = values_of(expanded(around))
        group = config.get("resource_group")
        hooks = config.get("hooks", {})
        return Job(
            name=copy.name,
            group=self._name,
            stage=self._stage,
            script=values.texts(config["script"]),
            before_script=values.texts(config.get("before_script")),
            after_script=values.texts(config.get("after_script")),
            pre_get_sources_script=values.texts(hooks.get("pre_get_sources_script")),
            image=values.image(config.get("image")),
            services=values.services(config.get("services")),
            variables=around,
            tags=tuple(expand(tag, values_of(around)) for tag in values.texts(config.get("tags"))),
            dependencies=values.texts(config["dependencies"]) if "dependencies" in config else None,
            when=config.get("when", "on_success"),
            start_in=durations.seconds(config["start_in"], f"{where}: start_in") if "start_in" in config else None,
            manual_confirmation=config.get("manual_confirmation"),
            allow_failure=allow_failure is True,
            allow_failure_exit_codes=values.exit_codes(allow_failure),
            environment=environment,
            resource_group=expand(group, simple, unknown="") if group else None,
            cache=values.caches(config.get("cache"), self._shared.files, protected=self._shared.context.protected),
            artifacts=values.artifacts(config.get("artifacts")),
            id_tokens=values.id_tokens(config.get("id_tokens")),
            timeout=durations.seconds(config["timeout"], f"{where}: timeout") if "timeout" in config else None,
            retry=values.retry(config.get("retry")),
            interruptible=config.get("interruptible", False),
            coverage=config.get("coverage"),
            parallel=(copy.number, copy.total) if copy.parallel else None,
            matrix=copy.matrix,
        )


def _of_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: rule[key] for key in ("when", "start_in", "allow_failure", "interruptible") if rule.get(key) is not None
    }


def _of_environment(environment: Environment | None) -> tuple[Variable, ...]:
    if environment is None:
        return ()
    return values.variables(
        {
            "CI_ENVIRONMENT_NAME": environment.name,
            "CI_ENVIRONMENT_SLUG": environments.slug(environment.name),
            "CI_ENVIRONMENT_ACTION": environment.action,
            "CI_ENVIRONMENT_TIER": environment.deployment_tier,
            **({"CI_ENVIRONMENT_URL": environment.url} if environment.url else {}),
        }
    )
