"""Settings that widen the access matrix and the documents together: no difference shows, so the settings must be refused.

For settings that are valid and still open an attack, a mutation names the rule that reports it (tests/attacks/catalog).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from config import between_stacks, foundation, load
from tests.support.program import complaints, raw

OIDC = {"account": "prod", "level": "protected", "project": "senncloud/shop", "ref": "main"}


@pytest.mark.parametrize(
    ("path", "value", "where", "message"),
    [
        ("runners.small.accounts", ["prod"], "runners.small.accounts", "has nothing for level open"),
        ("runners.small.accounts", ["dev", "admin"], "runners.small.accounts", "has nothing for level open"),
        ("runners.deploy.accounts", ["dev"], "runners.deploy.accounts", "has nothing for level protected"),
        ("runners.small.accounts", ["production"], "runners.small.accounts", "is not in accounts"),
        ("runners.small.accounts", None, "runners.small.accounts", "is empty"),
        ("runners.small.level", "protected", "runners.small", "neither project nor group"),
        ("runners.small.level", "both", "runners.small.level", ""),
        ("runners.small.project", "5678", "runners.small.project", "belongs to a protected class"),
        ("runners.deploy.group", "1234", "runners.deploy", "exactly one project"),
        ("runners.small.tag", "deploy", "runners.small.tag", "is also the tag of"),
        ("runners.small.pod_security", "privileged", "runners.small.pod_security", ""),
        ("runners.small.privileged", True, "runners.small.privileged", ""),
        ("runners.small.service_account", "manager", "runners.small.service_account", ""),
        ("accounts.dev.id", "444444444444", "accounts.prod.id", "is also the id of"),
        ("accounts.dev.open", ["cdk"], "accounts.dev", "boundary"),
        ("accounts.dev.open", ["administrator"], "accounts.dev.open", ""),
        ("accounts.dev.prod", ["ecs"], "accounts.dev.prod", ""),
        ("gitlab_oidc", {"all": {**OIDC, "project": "senncloud/*"}}, "gitlab_oidc.all", "has a wildcard"),
        ("gitlab_oidc", {"all": {**OIDC, "ref": "*"}}, "gitlab_oidc.all", "has a wildcard"),
        ("gitlab_oidc", {"all": {**OIDC, "tag": "v1"}}, "gitlab_oidc.all", "exactly one"),
        ("gitlab_oidc", {"all": {**OIDC, "level": "open"}}, "gitlab_oidc.all.level", "has nothing for level open"),
    ],
)
def test_a_setting_that_widens_access_on_both_sides_is_refused(path: str, value: Any, where: str, message: str) -> None:
    values = raw("prod", **{path.replace(".", "__"): value})
    problems = {place: text for place, text in complaints(values, "prod").items() if place.startswith(where)}
    assert any(message in text for text in problems.values()), complaints(values, "prod")


@pytest.mark.parametrize(
    "role", ["cicd/runner-small", "cicd-dev/runner-small", "cicd-platform/platform-deployer", "deploy/x"]
)
def test_roles_of_jobs_and_deployers_are_refused_as_roles_of_people(role: str) -> None:
    arn = f"arn:aws:iam::222222222222:role/{role}"
    administrators = [arn, "arn:aws:iam::222222222222:role/break-glass"]
    (message,) = complaints(raw("prod", cluster__administrators=administrators), "prod").values()
    assert "name roles of people" in message, "an open job would administer the cluster"
    (message,) = complaints(raw(foundation.STACK, platform__operators=[arn]), foundation.STACK).values()
    assert "name roles of people" in message, "an open job would deploy the platform"


def test_swapped_account_ids_of_dev_and_prod_are_refused() -> None:
    settings = load.of_stack("prod")
    prod, dev = settings.accounts["prod"], settings.accounts["dev"]
    swapped = {
        "prod": prod.model_copy(update={"id": dev.id}),
        "dev": dev.model_copy(update={"id": prod.id}),
    }
    stacks = {"prod": replace(settings, accounts={**settings.accounts, **swapped})}
    problems = [str(problem) for problem in between_stacks.account_ids(load.of_foundation(), stacks)]
    assert len(problems) == 2, "open jobs would deploy to prod, and every document would match the settings"


def test_an_account_outside_the_foundation_is_refused() -> None:
    settings = load.of_stack("dev")
    foreign = settings.accounts["dev"].model_copy(update={"id": "999999999999"})
    stacks = {"dev": replace(settings, accounts={**settings.accounts, "dev": foreign})}
    assert [*between_stacks.account_ids(load.of_foundation(), stacks)]


def test_another_organisation_is_refused() -> None:
    settings = load.of_stack("dev")
    foreign = settings.organization.model_copy(update={"id": "o-somebodyelse"})
    (problem,) = between_stacks.organizations(load.of_foundation(), {"dev": replace(settings, organization=foreign)})
    assert "dev: organization.id" in str(problem)
    assert "o-senncloud01" in str(problem)
