"""The catalogue of mutations: every attack and every rule has a mutation, and the page of attacks matches the catalogue.

`test_attacks_are_caught.py` applies the mutations to the real program, which takes longer.
"""

from __future__ import annotations

import pytest

from policies.rules import RULES
from tests.attacks import bench, report
from tests.attacks.attacks import ATTACKS
from tests.attacks.catalog import BY_NAME, MUTATIONS

IDS = {rule.id for rule in RULES}


def test_no_two_mutations_share_a_name() -> None:
    assert len(BY_NAME) == len(MUTATIONS)


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_has_a_mutation(attack: str) -> None:
    assert report.of_attack(attack), f"no mutation opens {attack}, or no rule is expected to see it"


def test_every_mutation_names_a_listed_attack_or_no_attack() -> None:
    assert {mutation.attack for mutation in MUTATIONS} <= {*ATTACKS, ""}


def test_every_mutation_expects_existing_rules() -> None:
    assert not [mutation.name for mutation in MUTATIONS if not mutation.rules or mutation.rules - IDS]


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_every_rule_has_a_mutation_that_needs_it(rule: str) -> None:
    assert bench.witness_of(rule) is not None


def test_every_attack_that_a_rule_claims_to_stop_has_a_mutation_for_the_rule() -> None:
    claimed = {rule.id: {attack for attack in ATTACKS if attack in rule.stops} for rule in RULES}
    proven = {rule: {mutation.attack for mutation in MUTATIONS if rule in mutation.rules} for rule in IDS}
    assert {rule: missing for rule, attacks in claimed.items() if (missing := attacks - proven[rule])} == {}


def test_the_attacks_page_matches_the_catalogue() -> None:
    assert report.page(report.PAGE.read_text()) == report.PAGE.read_text(), "run: python -m tests.attacks --write"
