"""Policy findings in the two formats that GitLab shows on a merge request: code quality and JUnit.

Traps that shaped this: GitLab stops reading a code quality report at the first entry that is not valid, so every entry has a location; equal
fingerprints collapse into one, so the fingerprint holds rule, resource and text; JUnit shows `classname` as the suite and drops doubles.
Sources: https://docs.gitlab.com/ci/testing/code_quality/ and https://docs.gitlab.com/ci/testing/unit_test_reports/
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from runner_platform.check.places import stack_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runner_platform.check.findings import Finding

CODE_QUALITY, JUNIT = "codequality.json", "junit.xml"
SEVERITIES = {"critical": "critical", "high": "major", "medium": "minor", "low": "info"}
"""Code quality's words; `blocker` is for what nobody could decide."""
PRINTABLE_FROM = 0x20


def files(stack: str, findings: Sequence[Finding], rules: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Both reports of a stack, by file name.

    Args:
        stack: the stack's name.
        findings: what the policies found.
        rules: id and name of every rule that judged, so that a rule which found nothing shows as passed.
    """
    return {
        CODE_QUALITY: json.dumps([_entry(stack, each) for each in findings], indent=2) + "\n",
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
        found = [each for each in findings if each.rule == rule]
        if not found:
            ET.SubElement(suite, "testcase", classname=f"policies of {stack}", name=f"{rule} {name}")
        for index, each in enumerate(found):
            suite.append(_case(stack, each, index))
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
    # One rule may say two things of one resource; equal names would be dropped.
    name = f"{finding.rule} {finding.name}: {_resource(finding)}{f' ({index + 1})' if index else ''}"
    case = ET.Element("testcase", classname=f"policies of {stack}", name=name)
    if finding.file:
        case.set("file", finding.file)
    text = "".join(each for each in finding.message if ord(each) >= PRINTABLE_FROM or each in "\n\t")
    if finding.fails:
        failure = ET.SubElement(case, "failure", message=text.partition("\n")[0], type=finding.severity)
        failure.text = "\n".join(filter(None, [finding.urn, finding.where, text]))
    else:
        ET.SubElement(case, "skipped", message=f"{_label(finding) or 'advisory: '}{text.partition(chr(10))[0]}")
    return case
