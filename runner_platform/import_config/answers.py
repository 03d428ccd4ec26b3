"""What becomes of each key of a runner's configuration here: the platform sets it by itself, or there is no counterpart.

A class has few settings; most keys of a `config.toml` follow from them or are the same for all classes. Keys are those of GitLab Runner 19.4
and three that older files have. An answer for a table holds for all of its keys that have none of their own.
Sources: https://docs.gitlab.com/runner/configuration/advanced-configuration/, `config_template` of `components/documents/config_toml.py`
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(StrEnum):
    """How a key is answered."""

    BECOMES = "becomes"
    """A setting of the class has its value."""
    SETTING = "another setting"
    """A setting of the stack file outside of the class has this part."""
    BUILT_IN = "built in"
    """The platform does this by itself, for every class."""
    NONE = "no counterpart"
    """Nothing here does this; the text says why, and what to do."""
    UNUSED = "unused"
    """The runner itself does not use the key."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What becomes of a key."""

    kind: Kind
    text: str
    """The reason, and what to do."""


def setting(text: str) -> Answer:
    """Return the answer for a key whose counterpart is outside of the class."""
    return Answer(kind=Kind.SETTING, text=text)


def built_in(text: str) -> Answer:
    """Return the answer for a key that the platform sets by itself."""
    return Answer(kind=Kind.BUILT_IN, text=text)


def none(text: str) -> Answer:
    """Return the answer for a key without counterpart."""
    return Answer(kind=Kind.NONE, text=text)


def of_table(table: str, groups: Mapping[str, Answer]) -> dict[str, Answer]:
    """Return the answers of a table by the whole key, from answers by several keys with spaces between them."""
    prefix = f"{table}." if table else ""
    return {f"{prefix}{key}".casefold(): answer for keys, answer in groups.items() for key in keys.split()}


TOKEN: Final = built_in(
    "a secret, never printed: the platform makes a runner and a token of its own (gitlab.runners: external: you bring the token)"
)
SCRIPTS: Final = none(
    "jobs run their own scripts only; put it into a template that pipelines include, as `default: {before_script: […]}` or `hooks: {pre_get_sources_script: […]}`"
)
TIMES: Final = built_in("follows from longest_job")
METERING: Final = none("GitLab's metering of its own hosted runners; drop it")

GLOBAL: Final = of_table(
    "",
    {
        "concurrent": none("each class has its own number of jobs"),
        "listen_address": setting(
            "alarms of a class read its manager (alarms.topic, docs/operate/alarms.md); no port of it is open to others"
        ),
        "session_server": none(
            "no web terminals: nothing outside may connect to a job; look into the job's log, or run doctor in the job"
        ),
        "check_interval connection_max_age": built_in("the same for every class"),
        "log_level log_format log_field_schema_version log_field_dual_emit_target": built_in(
            "the manager's log has a fixed form"
        ),
        "labels": none("labels of metrics; filter by the class's name instead"),
        "user": none("the manager's user is fixed; jobs never run as it"),
        "sentry_dsn": none("managers report to no Sentry: their log has the errors"),
        "machine": none(
            "Docker Machine is gone; executor: docker-autoscaler removes its instances without these settings"
        ),
        "experimental": METERING,
        "shutdown_timeout": TIMES,
    },
)
RUNNER: Final = of_table(
    "runners",
    {
        "name": none("the class has another name"),
        "executor": none("the class has no executor"),
        "limit": none("0 is no limit: the file's `concurrent` decides"),
        "url": setting("gitlab.url of the stack file holds for all classes: compare it"),
        "clone_url": setting("jobs clone from gitlab.url; set it to an address that managers and jobs reach"),
        "token": TOKEN,
        "token_obtained_at token_expires_at": built_in(
            "raise `token` of the class by one to rotate; check reminds you after 180 days"
        ),
        "id": built_in(
            "the platform makes runners of its own; remove the old one in GitLab when its last job has ended"
        ),
        "tls-ca-file": setting("the private certificate authority goes into gitlab.ca_bundle, as PEM"),
        "tls-cert-file tls-key-file": none(
            "no client certificate is sent to GitLab; let GitLab's proxy admit the platform's addresses without one"
        ),
        "output_limit": none("a job's log ends at the runner's 4 MiB; write long output into an artifact"),
        "request_concurrency strict_check_interval": built_in("follows from the number of jobs"),
        "unhealthy_requests_limit unhealthy_interval job_status_final_update_retry_limit": built_in(
            "the runner's default"
        ),
        "labels": none("labels of metrics; filter by the class's name instead"),
        "experimental": built_in("a manager that cannot reach GitLab shows in alarms and in `runner-platform runners`"),
        "builds_dir": built_in(
            "a job's folder is new and its own, at a fixed place; use $CI_BUILDS_DIR and $CI_PROJECT_DIR"
        ),
        "cache_dir": built_in("caches are packed in a folder of the job and kept in the platform's bucket"),
        "environment": none(
            "no variables for all jobs of a runner; values may be secrets, so write them as CI/CD variables of the group in GitLab"
        ),
        "proxy_exec debug_trace_disabled safe_directory_checkout clean_git_config": built_in("the runner's default"),
        "pre_get_sources_script post_get_sources_script pre_clone_script post_clone_script pre_build_script post_build_script": SCRIPTS,
        "prepare_timeout get_sources_timeout": TIMES,
        "shell": built_in("jobs use the shell of their image: bash if it is there, else sh"),
        "custom_build_dir": none("GIT_CLONE_PATH is off, since a job could leave its folder; use $CI_PROJECT_DIR"),
        "referees": none("no metrics of single jobs as artifacts; look at the class's metrics"),
        "artifact": built_in("the runner's default"),
        "feature_flags": none(
            "the class fixes the flags that its safety needs; write FF_… as variables of a job if the job needs another one"
        ),
        "monitoring": setting("alarms of a class watch that it takes jobs (alarms.topic, docs/operate/alarms.md)"),
        "use_slot_cgroups slot_cgroup_template": built_in("jobs are limited by their class"),
        "step_runner_image": built_in("the runner's default"),
    },
)


def find(key: str, answers: Mapping[str, Answer]) -> tuple[str, Answer]:
    """Return the key or table that has an answer for a key, and the answer.

    Args:
        key: such as `runners.docker.image`, in small letters.
        answers: by key or table.
    """
    candidate = key
    while candidate:
        if candidate in answers:
            return candidate, answers[candidate]
        candidate = candidate.rpartition(".")[0]
    nearest = difflib.get_close_matches(key, answers, n=1, cutoff=0.85)
    hint = f"did you mean {nearest[0].rpartition('.')[2]}?" if nearest else "drop it"
    return key, Answer(kind=Kind.UNUSED, text=f"GitLab Runner 19.4 has no such key and ignores it; {hint}")
