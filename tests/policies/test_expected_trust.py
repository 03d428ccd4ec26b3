"""Who may be trusted according to the settings: the list that the rules on trusts compare with."""

from __future__ import annotations

from functools import cache
from typing import Any

from config import load
from config.capabilities import Level
from policies import expected_trust
from tests.support.program import parsed, raw


@cache
def dev() -> Any:
    roles = {
        "branch": {"account": "dev", "level": "open", "project": "company/app", "ref": "main"},
        "release": {"account": "dev", "level": "open", "project": "company/app", "tag": "v1"},
        "staging": {"account": "dev", "level": "open", "project": "company/other", "environment": "staging"},
    }
    return parsed(raw("dev", gitlab_oidc=roles))


def test_each_role_of_gitlab_trusts_one_project_and_one_condition() -> None:
    settings = dev()
    subjects = expected_trust.gitlab_subjects(settings)
    assert subjects[settings.names.gitlab_role("branch")] == "project_path:company/app:ref_type:branch:ref:main"
    assert subjects[settings.names.gitlab_role("release")] == "project_path:company/app:ref_type:tag:ref:v1"
    staging = subjects[settings.names.gitlab_role("staging")]
    assert staging.startswith("project_path:company/other:")
    assert "staging" in staging
    assert len(subjects) == 3


def test_the_platforms_own_roles_trust_its_pipelines_branch() -> None:
    foundation = load.of_foundation()
    subjects = expected_trust.gitlab_subjects(foundation)
    assert set(subjects) == {"platform-deployer", "platform-reader"}
    expected = f"project_path:{foundation.platform.project}:ref_type:branch:ref:{foundation.platform.ref}"
    assert set(subjects.values()) == {expected}


def test_infrastructure_roles_are_those_of_cluster_nodes_logs_alarms_and_managers() -> None:
    settings = dev()
    names = settings.names
    assert expected_trust.infrastructure_roles(settings) == {
        *(names.cluster_role(), names.node_role(), names.flow_log_role(), names.alarms_role()),
        *(names.manager_role(runner_class) for runner_class in settings.runners),
    }


def test_a_delegated_role_trusts_the_job_roles_of_its_level_that_enter_the_account() -> None:
    settings = dev()
    trusted = expected_trust.trusted_roles(settings)
    account, names = settings.accounts["dev"].id, settings.names
    for level in Level:
        classes = settings.classes_of("dev", level)
        arns = {names.role_arn(settings.platform_account.id, names.job_role(name)) for name in classes}
        assert trusted.get((account, names.delegated_role(level)), set()) == arns


def test_a_service_account_is_trusted_by_its_own_class_role_only() -> None:
    settings = dev()
    accounts = expected_trust.service_accounts(settings)
    assert set(accounts) == {
        role(name) for name in settings.runners for role in (settings.names.job_role, settings.names.manager_role)
    }
    assert accounts[settings.names.job_role("small")].subject == "system:serviceaccount:jobs-small:job"
    assert accounts[settings.names.manager_role("small")].subject == "system:serviceaccount:runner-small:manager"
