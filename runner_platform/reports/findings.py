"""Policy findings, and the two files in which GitLab shows them on a merge request: code quality and JUnit.

GitLab stops reading a code quality report at the first invalid entry, so every entry has a location. Equal fingerprints collapse into
one, so a fingerprint holds rule, resource and text. JUnit shows `classname` as the suite and drops cases with equal names.
Sources: https://docs.gitlab.com/ci/testing/code_quality/ and https://docs.gitlab.com/ci/testing/unit_test_reports/
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from runner_platform.stacks import stack_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CODE_QUALITY, JUNIT = "codequality.json", "junit.xml"
MANDATORY, ADVISORY = "mandatory", "advisory"
SEVERITIES = {"critical": "critical", "high": "major", "medium": "minor", "low": "info"}
"""Code quality's word by severity; `blocker` is for undecided findings."""
PRINTABLE_FROM = 0x20


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One rule's complaint about one resource."""

    rule: str
    """Id, such as T04."""
    name: str
    """Name of the policy."""
    level: str
    """`mandatory` or `advisory`."""
    severity: str
    """`low`, `medium`, `high` or `critical`."""
    urn: str
    """Empty for a finding about the whole stack."""
    message: str
    """The violation and its remedy; never the value of a secret."""
    undecided: bool = False
    """The rule could not decide, because a value is unknown."""
    deferred: bool = False
    """The document holds the issuer of a cluster that does not exist yet; the deployed state is evaluated later."""
    file: str = ""
    """File to change, relative to the project: the stack's file, or a component; empty when unknown."""
    line: int = 0
    """Line in the file, from 1."""
    setting: str = ""
    """Dotted settings key at that line; empty for a component."""
    made_at: str = ""
    """Line of the program that registers the resource, `file:line`; empty when unknown."""

    @property
    def fails(self) -> bool:
        """Whether the finding fails a check: it is mandatory or undecided, and not deferred."""
        return (self.level == MANDATORY or self.undecided) and not self.deferred

    @property
    def where(self) -> str:
        """Settings key with file and line, and the line that registers the resource, as far as known."""
        setting = f"{self.setting}, {self.file}:{self.line}" if self.setting else ""
        return "; ".join(filter(None, [setting, self.made_at]))

    def __str__(self) -> str:
        """Level, rule and resource on one line, the message below."""
        level = "deferred" if self.deferred else "undecided" if self.undecided else self.level
        where = f" ({self.where})" if self.where else ""
        message = self.message.replace("\n", "\n    ")
        return f"{level} {self.rule} {self.name}: {self.urn or 'the whole stack'}{where}\n    {message}"


def files(stack: str, findings: Sequence[Finding], rules: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Both reports of a stack, by file name.

    Args:
        stack: name of the stack.
        findings: findings of the policies.
        rules: id and name of every rule that was evaluated; a rule without findings is shown as passed.
    """
    return {
        CODE_QUALITY: json.dumps([_entry(stack, finding) for finding in findings], indent=2) + "\n",
        JUNIT: _junit(stack, findings, rules),
    }


def _entry(stack: str, finding: Finding) -> dict[str, Any]:
    identity = json.dumps([stack, finding.rule, finding.urn, finding.message])
    return {
        "type": "issue",
        "check_name": f"{finding.rule} {finding.name}",
        "description": f"{_label(finding)}{_resource(finding)}: {' '.join(finding.message.split())}{_made_at(finding)}",
        "categories": ["Security"],
        "severity": "info" if finding.deferred else "blocker" if finding.undecided else SEVERITIES[finding.severity],
        "fingerprint": hashlib.sha256(identity.encode()).hexdigest(),
        "location": {"path": finding.file or stack_file(stack), "lines": {"begin": max(finding.line, 1)}},
    }


def _made_at(finding: Finding) -> str:
    return f" (made at {finding.made_at})" if finding.setting and finding.made_at else ""


def _label(finding: Finding) -> str:
    return "DEFERRED " if finding.deferred else "UNDECIDED " if finding.undecided else ""


def _resource(finding: Finding) -> str:
    return finding.urn.rpartition("::")[2] or "the whole stack"


def _junit(stack: str, findings: Sequence[Finding], rules: Iterable[tuple[str, str]]) -> str:
    suite = ET.Element("testsuite", name=f"policies of {stack}")
    for rule, name in rules:
        of_rule = [finding for finding in findings if finding.rule == rule]
        if not of_rule:
            ET.SubElement(suite, "testcase", classname=f"policies of {stack}", name=f"{rule} {name}")
        for index, finding in enumerate(of_rule):
            suite.append(_case(stack, finding, index))
    count = {
        "tests": len(suite),
        "failures": len(suite.findall("testcase/failure")),
        "skipped": len(suite.findall("testcase/skipped")),
    }
    suite.attrib.update({key: str(value) for key, value in count.items()})
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(stack: str, finding: Finding, index: int) -> ET.Element:
    # One rule may have two findings on one resource, and GitLab drops cases with equal names.
    name = f"{finding.rule} {finding.name}: {_resource(finding)}{f' ({index + 1})' if index else ''}"
    case = ET.Element("testcase", classname=f"policies of {stack}", name=name)
    if finding.file:
        case.set("file", finding.file)
    text = "".join(letter for letter in finding.message if ord(letter) >= PRINTABLE_FROM or letter in "\n\t")
    if finding.fails:
        failure = ET.SubElement(case, "failure", message=text.partition("\n")[0], type=finding.severity)
        failure.text = "\n".join(filter(None, [finding.urn, finding.where, text]))
    else:
        ET.SubElement(case, "skipped", message=f"{_label(finding) or 'advisory: '}{text.partition(chr(10))[0]}")
    return case
