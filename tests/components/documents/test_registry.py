"""The policy of the registry's repositories."""

from __future__ import annotations

from components.documents import registry
from config.sections import Organization

ORGANIZATION = Organization(id="o-senncloud01", region="eu-central-1")


def test_the_repository_policy_lets_the_organisation_pull_and_allows_no_push() -> None:
    (statement,) = registry.pull_policy(ORGANIZATION)["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-senncloud01"}}
    assert not [action for action in statement["Action"] if "Put" in action or "Upload" in action]
