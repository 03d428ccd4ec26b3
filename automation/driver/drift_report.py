"""Drift for people and for GitLab: Markdown that can be pasted into an issue, and JUnit for the pipeline's test tab."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Final

from automation.driver.drift import Kind
from automation.reports.markdown import cell, code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from automation.driver.drift import Difference

TITLES: Final = {
    Kind.WEAKENS: "Weakens the platform",
    Kind.GONE: "Gone",
    Kind.COSMETIC: "Differs, and opens nothing",
}


def files(stack: str, found: Sequence[Difference]) -> dict[str, str]:
    """Contents by file name: `drift.md` and `junit.xml`."""
    return {"drift.md": markdown(stack, found), "junit.xml": junit(stack, found)}


def sentence(stack: str, found: Sequence[Difference]) -> str:
    """The verdict."""
    if not found:
        return f"{stack}: no drift"
    counts = {kind: sum(each.kind is kind for each in found) for kind in Kind}
    return (
        f"{stack}: {counts[Kind.WEAKENS]} weaken the platform, {counts[Kind.GONE]} are gone, "
        f"{counts[Kind.COSMETIC]} differ and open nothing"
    )


def markdown(stack: str, found: Sequence[Difference]) -> str:
    """An issue's text: verdict, what is wrong, what to do."""
    lines = [f"## Drift of stack {stack}", "", f"**{sentence(stack, found)}**", ""]
    for kind, title in TITLES.items():
        of_kind = [each for each in found if each.kind is kind]
        if not of_kind:
            continue
        lines += [f"### {title}", "", "| resource | account | properties | why |", "|---|---|---|---|"]
        for each in of_kind:
            properties = ", ".join(cell(name) for name in each.properties)
            why = "<br>".join(cell(reason) for reason in each.reasons)
            lines.append(f"| {cell(each.name)} | {each.account} | {properties} | {why} |")
        lines.append("")
    if found:
        lines += [
            (
                f"To undo all of it: {code(f'runner-platform refresh --stack {stack}')}, then {code(f'runner-platform up --stack {stack}')}. "
                "To keep a change: write it into the program or the stack file first. "
                "Who made it: CloudTrail of the account, GitLab's audit events for runners."
            ),
            "",
        ]
    return "\n".join(lines)


def junit(stack: str, found: Sequence[Difference]) -> str:
    """One case per difference; what is cosmetic is skipped, not failed."""
    wrong = sum(each.kind is not Kind.COSMETIC for each in found)
    suite = ET.Element(
        "testsuite",
        name=f"drift of {stack}",
        tests=str(max(1, len(found))),
        failures=str(wrong),
        skipped=str(len(found) - wrong),
    )
    for index, each in enumerate(found):
        case = ET.SubElement(suite, "testcase", classname=f"drift of {stack}", name=f"{each.name} ({index + 1})")
        said = "; ".join(each.reasons)
        text = (
            "".join(one for one in said if one.isprintable() or one == "\n")
            or f"differs in {', '.join(each.properties) or 'what only the cloud knows'}"
        )
        if each.kind is Kind.COSMETIC:
            ET.SubElement(case, "skipped", message=text)
        else:
            failure = ET.SubElement(
                case, "failure", message="it is gone" if each.kind is Kind.GONE else text, type=each.kind.value
            )
            failure.text = f"{each.urn}\n{text}"
    if not found:
        ET.SubElement(suite, "testcase", classname=f"drift of {stack}", name="everything is as it was deployed")
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
