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
    """One line; empty where it did not fail."""
    kind: str = ""
    """Type of the failure."""
    details: str = ""
    skipped: str = ""
    """Why it was not judged, or does not count; empty where it was."""


def document(suite: str, cases: Sequence[Case]) -> str:
    """One suite as XML."""
    found = ET.Element(
        "testsuite",
        name=suite,
        tests=str(len(cases)),
        failures=str(sum(bool(each.failure) for each in cases)),
        skipped=str(sum(bool(each.skipped) for each in cases)),
    )
    for each in cases:
        case = ET.SubElement(found, "testcase", classname=suite, name=printable(each.name))
        if each.failure:
            failure = ET.SubElement(case, "failure", message=printable(each.failure), type=each.kind)
            failure.text = printable(each.details)
        elif each.skipped:
            ET.SubElement(case, "skipped", message=printable(each.skipped))
    return _text([found])


def joined(*documents: str) -> str:
    """The suites of several documents of this project in one."""
    return _text([suite for each in documents for suite in ET.fromstring(each)])  # noqa: S314  # written by this project


def printable(text: str) -> str:
    """What XML may hold of a text."""
    return "".join(each for each in text if each.isprintable() or each in "\n\t")


def _text(suites: Sequence[ET.Element]) -> str:
    root = ET.Element("testsuites")
    root.extend(suites)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
