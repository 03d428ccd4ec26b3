"""The catalogue of mutations: every attack and every rule has one, and the page that lists them is what the catalogue says.

Whether the pack really says so is tried with the real program in `test_attacks_are_caught.py`, which takes longer.
"""

from __future__ import annotations

import pytest

from policies.rules import RULES
from tests.attacks import bench, report
from tests.attacks.attacks import ATTACKS
from tests.attacks.catalog import BY_NAME, MUTATIONS

IDS = {each.id for each in RULES}


def test_no_two_mutations_share_a_name() -> None:
    assert len(BY_NAME) == len(MUTATIONS)


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_is_tried(attack: str) -> None:
    assert report.of_attack(attack), f"no mutation opens {attack}, or no rule is expected to see it"


def test_every_mutation_is_of_a_listed_attack_or_of_none() -> None:
    assert {each.attack for each in MUTATIONS} <= {*ATTACKS, ""}


def test_every_mutation_expects_rules_that_there_are() -> None:
    assert not [each.name for each in MUTATIONS if not each.rules or each.rules - IDS]


@pytest.mark.parametrize("rule", [each.id for each in RULES])
def test_every_rule_has_a_mutation_that_needs_it(rule: str) -> None:
    assert bench.witness_of(rule) is not None


def test_the_rules_name_attacks_that_they_really_stop() -> None:
    claimed = {each.id: {name for name in ATTACKS if name in each.stops} for each in RULES}
    shown = {each: {its.attack for its in MUTATIONS if each in its.rules} for each in IDS}
    assert {rule: missing for rule, its in claimed.items() if (missing := its - shown[rule])} == {}


def test_the_page_lists_what_the_catalogue_says() -> None:
    assert report.page(report.PAGE.read_text()) == report.PAGE.read_text(), "run: python -m tests.attacks --write"
