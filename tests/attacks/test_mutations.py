"""The catalogue of mutations: every attack and every rule has a mutation, and the page of attacks matches the catalogue.

`test_attacks_are_caught.py` applies the mutations to the real program, which takes longer.
"""

from __future__ import annotations

from policies.rules import RULES
from tests.attacks import bench, report
from tests.attacks.attacks import ATTACKS
from tests.attacks.catalog import BY_NAME, MUTATIONS

IDS = {rule.id for rule in RULES}


def test_no_two_mutations_share_a_name() -> None:
    assert len(BY_NAME) == len(MUTATIONS)


def test_every_attack_has_a_mutation() -> None:
    unseen = [attack for attack in ATTACKS if not report.of_attack(attack)]
    assert unseen == [], "no mutation opens them, or no rule is expected to see it"


def test_every_mutation_names_a_listed_attack_or_no_attack() -> None:
    assert {mutation.attack for mutation in MUTATIONS} <= {*ATTACKS, ""}


def test_every_mutation_expects_existing_rules() -> None:
    assert not [mutation.name for mutation in MUTATIONS if not mutation.rules or mutation.rules - IDS]


def test_every_rule_has_a_mutation_that_needs_it() -> None:
    assert [rule.id for rule in RULES if bench.witness_of(rule.id) is None] == []


def test_every_attack_that_a_rule_claims_to_stop_has_a_mutation_for_the_rule() -> None:
    claimed = {rule.id: {attack for attack in ATTACKS if attack in rule.stops} for rule in RULES}
    proven = {rule: {mutation.attack for mutation in MUTATIONS if rule in mutation.rules} for rule in IDS}
    assert {rule: missing for rule, attacks in claimed.items() if (missing := attacks - proven[rule])} == {}


def test_the_attacks_page_matches_the_catalogue() -> None:
    assert report.page(report.PAGE.read_text()) == report.PAGE.read_text(), "run: python -m tests.attacks --write"
