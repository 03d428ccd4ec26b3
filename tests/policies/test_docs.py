"""The rule table against the rules: what a reviewer reads is what is judged."""

from __future__ import annotations

from config import load
from policies.rules import RULES
from tests.test_docs import _rows

RULES_PAGE = (load.ROOT / "docs" / "reference" / "policy-rules.md").read_text()
FINDINGS_PAGE = (load.ROOT / "docs" / "operate" / "policies.md").read_text()


def test_the_table_lists_every_rule_as_it_is() -> None:
    written = _rows(RULES_PAGE, "id")
    expected = [
        [
            rule.id,
            f"`{rule.name}`",
            rule.demands,
            rule.stops,
            f"{rule.level.value}, {rule.severity.value}",
            ", ".join(f"`{option}`" for option in rule.options) or "-",
        ]
        for rule in RULES
    ]
    assert written == expected, "change docs/reference/policy-rules.md with the rule"


def test_the_example_of_an_exception_is_a_whole_one() -> None:
    for key in ("rule:", "resource: urn:pulumi:", "reason:", "expires:"):
        assert key in FINDINGS_PAGE
