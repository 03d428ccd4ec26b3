"""Every mutation on the real program, judged by the real pack: the expected rules are red, no others, and each rule is needed."""

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
    """What the pack said, by mutation; two processes try them all, once."""
    return {each.mutation: each for each in bench.outcomes(["", *(each.name for each in MUTATIONS)])}


def test_without_a_mutation_nothing_is_red(outcomes: dict[str, Outcome]) -> None:
    assert [str(each) for each in outcomes[""].findings] == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: f"{each.attack or 'mistake'}: {each.name}")
def test_a_mutation_turns_the_expected_rules_red_and_no_others(
    outcomes: dict[str, Outcome], mutation: Mutation
) -> None:
    outcome = outcomes[mutation.name]
    said = "\n".join(str(each) for each in outcome.findings if each.rule not in mutation.rules)
    assert outcome.rules == mutation.rules, f"the attack is caught by its own rules\n{said}"


@pytest.mark.parametrize("rule", [each.id for each in RULES])
def test_without_a_rule_its_mutation_is_no_longer_judged_right(outcomes: dict[str, Outcome], rule: str) -> None:
    witness = bench.witness_of(rule)
    assert witness is not None, f"no mutation needs {rule}"
    red = outcomes[witness.name].without[rule]
    assert red == witness.rules - {rule}, f"a pack without {rule} misses {witness.name!r}, and the rest is as before"
