"""GitLab's CI/CD components as GitLab reads them: inputs, interpolation, `extends`, `!reference`, rules, and scripts in a shell.

Enough of GitLab's rules for our own templates, each from its reference: https://docs.gitlab.com/ci/yaml/ and https://docs.gitlab.com/ci/inputs/.
"""

from __future__ import annotations

import copy
import json
import re
import string
import subprocess
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import yaml

from config import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FOLDER = load.ROOT / "templates"
NAMES = ("platform", "deploy", "ecs", "opentofu", "image")
ALL = sorted(FOLDER.glob("*.yml"))
KEYWORDS = frozenset({"stages", "workflow", "variables", "default", "include"})
RESERVED = re.compile(r"\$\[\[ inputs\.(\w+) \]\]")
OPERAND = re.compile(r'\$(?P<name>\w+)|"(?P<text>[^"]*)"')


class _Reference(list[str]):
    """`!reference [job, key]`, until it is looked up."""


class _Loader(yaml.SafeLoader):
    """YAML with GitLab's own tag."""


_Loader.add_constructor("!reference", lambda loader, node: _Reference(loader.construct_sequence(node)))


def parsed(text: str) -> Any:
    """YAML with `!reference` kept apart."""
    return yaml.load(text, _Loader)  # noqa: S506  # derives from the safe loader


@dataclass(frozen=True)
class Component:
    """One file of templates/."""

    path: Path

    @cached_property
    def parts(self) -> tuple[str, str]:
        """Header and configuration."""
        header, configuration = self.path.read_text().split("\n---\n")
        return header, configuration

    @cached_property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """Declared inputs."""
        found: dict[str, dict[str, Any]] = parsed(self.parts[0])["spec"]["inputs"]
        return found

    @cached_property
    def example(self) -> list[dict[str, Any]]:
        """The `include` of the comment at the file's head."""
        text = "\n".join(line[4:] for line in self.parts[0].splitlines() if line.startswith("#   "))
        found: list[dict[str, Any]] = parsed(text)["include"]
        return found

    def given(self, **inputs: Any) -> dict[str, Any]:
        """Inputs of the example, with others over them."""
        return {**self.example[0]["inputs"], **inputs}

    def text(self, **inputs: Any) -> str:
        """The configuration with inputs in place; what is no string stands as a YAML value of its own."""
        values = self.given(**inputs)

        def value(match: re.Match[str]) -> str:
            found = values.get(match[1], self.inputs[match[1]].get("default"))
            return found if isinstance(found, str) else json.dumps(found)

        return RESERVED.sub(value, self.parts[1])

    def jobs(self, **inputs: Any) -> dict[str, dict[str, Any]]:
        """Jobs that may run, by name, with `extends` and references resolved."""
        document = parsed(self.text(**inputs))
        full = {name: _resolved(_extended(document, name), document) for name in document if name not in KEYWORDS}
        return {name: job for name, job in full.items() if not name.startswith(".")}


def component(name: str) -> Component:
    """A component by name."""
    return Component(FOLDER / f"{name}.yml")


def _extended(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    job = document[name]
    parents = job.get("extends", [])
    merged: dict[str, Any] = {}
    for parent in [parents] if isinstance(parents, str) else parents:
        merged = _merged(merged, _extended(document, parent))
    return _merged(merged, {key: value for key, value in job.items() if key != "extends"})


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(dict(below))
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else copy.deepcopy(value)
    return result


def _resolved(value: Any, document: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(each, document) for key, each in value.items()}
    if isinstance(value, list):
        found: list[Any] = []
        for each in value:
            if isinstance(each, _Reference):
                looked_up: Any = document
                for key in each:
                    looked_up = looked_up[key]
                found += _resolved(looked_up, document)
            else:
                found.append(_resolved(each, document))
        return found
    return value


def holds(condition: str, variables: Mapping[str, str]) -> bool:
    """Whether `rules:if` is true: `==`, `!=`, `=~` are compared, `&&` binds stronger than `||`; a lone variable must not be empty."""
    return any(
        all(_compared(part.strip(), variables) for part in alternative.split("&&"))
        for alternative in condition.split("||")
    )


def _compared(part: str, variables: Mapping[str, str]) -> bool:
    found = re.fullmatch(r"(\S+)(?:\s+(==|!=)\s+(\S+|\"[^\"]*\"))?", part)
    assert found, f"not understood: {part}"
    left = _operand(found[1], variables)
    if found[2] is None:
        return bool(left)
    return (left == _operand(found[3], variables)) is (found[2] == "==")


def _operand(text: str, variables: Mapping[str, str]) -> str | None:
    found = OPERAND.fullmatch(text)
    assert found, f"not understood: {text}"
    return variables.get(found["name"]) if found["name"] else found["text"]


def when(job: Mapping[str, Any], variables: Mapping[str, str]) -> str | None:
    """How a job enters a pipeline: `on_success`, `manual`, `always`; None where it does not. First matching rule wins."""
    for rule in job["rules"]:
        if "if" not in rule or holds(rule["if"], variables):
            found = rule.get("when", "on_success")
            return None if found == "never" else found
    return None


def commands(job: Mapping[str, Any]) -> str:
    """What the runner gives to one shell: before_script and script."""
    return "\n".join([*job.get("before_script", []), *job["script"]])


def variables_of(job: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str]:
    """The job's variables over GitLab's, each expanded with the others."""
    own = {name: str(value) for name, value in job.get("variables", {}).items()}
    merged = {**own, **known}
    return {**{name: string.Template(text).safe_substitute(merged) for name, text in own.items()}, **known}


def run(
    script: str, folder: Path, environment: Mapping[str, str], shell: str = "sh", seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """A script in a shell that ends at the first failure, as the runner starts it."""
    return subprocess.run(
        [shell, "-e", "-c", script],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def matrix(job: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The variables of each of a job's parallel copies; one empty set where it has none."""
    for each in job.get("parallel", {}).get("matrix", [{}]):
        names = list(each)
        assert len(names) <= 1, "one dimension is all that our templates have"
        values = [each[name] if isinstance(each[name], list) else [each[name]] for name in names]
        yield from ({names[0]: value} for value in values[0]) if names else iter([{}])
