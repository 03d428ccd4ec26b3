"""Every mutation of the real program, evaluated by the real pack: exactly the expected rules are red, and every rule is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from policies.rules import RULES
from tests.attacks import bench
from tests.attacks.catalog import MUTATIONS

if TYPE_CHECKING:
    from tests.attacks.bench import Outcome
    from tests.attacks.mutation import Mutation

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """Return the outcome of each mutation; two processes apply each mutation once."""
    return {outcome.mutation: outcome for outcome in bench.outcomes(["", *(mutation.name for mutation in MUTATIONS)])}


def test_the_unchanged_program_has_no_findings(outcomes: dict[str, Outcome]) -> None:
    assert [str(finding) for finding in outcomes[""].findings] == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.attack or 'mistake'}: {mutation.name}")
def test_a_mutation_turns_the_expected_rules_red_and_no_others(
    outcomes: dict[str, Outcome], mutation: Mutation
) -> None:
    outcome = outcomes[mutation.name]
    unexpected = "\n".join(str(finding) for finding in outcome.findings if finding.rule not in mutation.rules)
    assert outcome.rules == mutation.rules, f"exactly the expected rules must report the attack\n{unexpected}"


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_a_pack_without_a_rule_misses_the_mutation_of_that_rule(outcomes: dict[str, Outcome], rule: str) -> None:
    witness = bench.witness_of(rule)
    assert witness is not None, f"no mutation needs {rule}"
    red = outcomes[witness.name].without[rule]
    assert red == witness.rules - {rule}, f"a pack without {rule} misses {witness.name!r}; the other rules stay red"
