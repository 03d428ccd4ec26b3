"""JUnit documents: GitLab takes one file per job, shows `classname` as the suite, and drops cases whose names repeat.

https://docs.gitlab.com/ci/testing/unit_test_reports/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE = "junit.xml"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case of a suite."""

    name: str
    failure: str = ""
    """One line; empty for a case that did not fail."""
    kind: str = ""
    """Type of the failure, a word."""
    details: str = ""
    skipped: str = ""
    """Reason why the case was not evaluated, or does not count; empty otherwise."""


def document(suite: str, cases: Sequence[Case]) -> str:
    """One suite as XML."""
    element = ET.Element(
        "testsuite",
        name=suite,
        tests=str(len(cases)),
        failures=str(sum(bool(case.failure) for case in cases)),
        skipped=str(sum(bool(case.skipped) for case in cases)),
    )
    for case in cases:
        testcase = ET.SubElement(element, "testcase", classname=suite, name=printable(case.name))
        if case.failure:
            failure = ET.SubElement(testcase, "failure", message=printable(case.failure), type=case.kind)
            failure.text = printable(case.details)
        elif case.skipped:
            ET.SubElement(testcase, "skipped", message=printable(case.skipped))
    return _text([element])


def joined(*documents: str) -> str:
    """Join the suites of several documents of this project."""
    return _text([suite for text in documents for suite in ET.fromstring(text)])  # noqa: S314  # written by this project


def printable(text: str) -> str:
    """The text without characters that XML may not hold."""
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")


def _text(suites: Sequence[ET.Element]) -> str:
    root = ET.Element("testsuites")
    root.extend(suites)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
