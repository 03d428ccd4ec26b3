"""The pages of docs/reference, made from the code.

`python -m runner_platform.cli.reference` says which pages differ from the code, and ends with 1 if one does; `--write` renews them.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import textwrap
import typing
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import typer
import yaml
from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic_core import PydanticUndefined
from typer.core import TyperArgument, TyperGroup, TyperOption

from components.documents.disruption import disruption
from config import checks, foundation, load, runner_checks, settings, stack_file
from config.quantities import duration_text, memory_text, parse_duration
from config.runners import MODELS, Runner
from config.sections import Organization, Section, Tags
from config.values import Allowed
from policies.rules import RULES
from runner_platform.cli.main import COMMANDS, load_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from config.checks import Check

FOLDER: Final = load.ROOT / "docs" / "reference"
RENEW: Final = "python -m runner_platform.cli.reference --write"
NOTE: Final = f"<!-- Made from the code by `{RENEW}`. Edit the code, not this page. -->"
DURATIONS: Final = ("10m", "1h", "2h", "4h", "12h", "24h")
FOUNDATION: Final[dict[str, type[BaseModel]]] = {
    "organization": Organization,
    "accounts": foundation.FoundationAccount,
    "gitlab": foundation.FoundationGitLab,
    "platform": foundation.FoundationPlatform,
    "tags": Tags,
}
NAME_CHECKS: Final[dict[str, Check]] = {
    "accounts": checks.account_ids,
    "runners": runner_checks.runner_names,
    "gitlab_oidc": checks.gitlab_oidc_names,
}
KEYS: Final = ("key", "type", "limits", "default", "decides")
EXIT_CODES: Final = {
    "0": "fine",
    "1": "it failed, or the answer is not fine: a finding, a difference, a drift that opens something",
    "2": "wrong use of the command line",
    "3": "interrupted; the state is saved, and the same command goes on from there",
    "4": "a live run holds the stack",
}


def pages() -> dict[str, str]:
    """Make all reference pages, by file name."""
    texts = {"commands.md": commands(), "settings.md": settings_keys(), "policy-rules.md": policy_rules()}
    return {name: "\n".join(lines) + "\n" for name, lines in texts.items()}


def commands() -> Iterator[str]:
    """Describe each command of `runner-platform` with its options."""
    yield from ("# Commands", "", NOTE, "")
    yield "You type `runner-platform` and a command; `--help` after it prints the same as this page. The sandbox adds `runner-platform sandbox`"
    yield "([sandbox/README.md](../../sandbox/README.md))."
    yield from ("", "## Exit codes", "")
    yield from table(("code", "means"), EXIT_CODES.items())
    yield from ("", "With `--json`, standard output is one JSON document. Everything else goes to standard error.")
    # Another distribution documents the commands that it adds.
    documented = [
        entry
        for name, target in COMMANDS.items()
        for entry in commands_of(load_command(name, target), f"runner-platform {name}")
    ]
    for name, command in documented:
        yield from ("", f"## {name}", "")
        yield f"`{' '.join([name, *usage(command)])}`"
        yield from ("", inspect.cleandoc(command.help or "").replace("\f", ""))
        options = [
            (f"`{', '.join(option.opts)}`", option.help or "-") for option in parameters_of(command, TyperOption)
        ]
        if options:
            yield ""
            yield from table(("option", "does"), options)


def commands_of(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Walk a command line in the order of its help, without hidden commands."""
    if not isinstance(command, TyperGroup):
        yield path, command
        return
    for name, child in command.commands.items():
        if not child.hidden:
            yield from commands_of(child, f"{path} {name}")


def parameters_of(command: Any, kind: type[TyperArgument | TyperOption]) -> list[Any]:
    """List the arguments or the options that the command's help shows."""
    return [parameter for parameter in command.params if isinstance(parameter, kind) and not parameter.hidden]


def usage(command: Any) -> list[str]:
    """List the command's arguments and its required options, as you type them."""
    arguments = [
        (argument.metavar or argument.name.upper(), argument) for argument in parameters_of(command, TyperArgument)
    ]
    required = [f"{option.opts[0]} …" for option in parameters_of(command, TyperOption) if option.required]
    return [name if argument.required else f"[{name}]" for name, argument in arguments] + required


def settings_keys() -> Iterator[str]:
    """Describe each key of the stack files, and the times that follow from `longest_job`."""
    yield from ("# Settings", "", NOTE, "")
    yield "You write settings into `Pulumi.<stack>.yaml`, each object below its key. `runner-platform check` reports every problem at once,"
    yield "with path, value and remedy. An unknown key is a problem, too."
    yield from reading()
    yield from ("", "# The platform: `Pulumi.dev.yaml`, `Pulumi.prod.yaml`, `Pulumi.small.yaml`")
    yield from objects({**settings.OBJECTS, **settings.MAPPINGS}, settings.PROJECT, "Pulumi.yaml")
    yield from ("", "## Times that follow from `longest_job`", "")
    yield "GitLab's timeout alone may end a job; every other time is longer (`components/documents/disruption.py`)."
    yield ""
    header = (
        "longest job",
        "GitLab's timeout",
        "manager waits",
        "node drains",
        "node expires",
        "`custom_timeouts.delete`",
    )
    yield from table(header, [times(text) for text in DURATIONS])
    yield from ("", "# The foundation: `foundation/Pulumi.foundation.yaml`")
    yield from objects(FOUNDATION, foundation.PROJECT, "foundation/Pulumi.yaml")


def reading() -> Iterator[str]:
    """Describe how a stack file is read."""
    yield from ("", "## How a stack file is read", "")
    yield "`runner-platform` reads what Pulumi's engine reads. If another reader of YAML could take a value differently, `check` refuses it:"
    yield ""
    yield from (
        (
            "- The file is one YAML document in UTF-8, without NUL bytes, control characters, or tabs at the beginning of a line. "
            f"It has at most {stack_file.LARGEST_FILE // 1024} KiB and {stack_file.DEEPEST} levels."
        ),
        "- Each key is text and stands once. `no`, `on` and `yes` are text, also as names; `true` and `false` are the only booleans.",
        "- Numbers are plain, such as `5` and `1.5`. Put dates, versions, ids and everything else that looks like a number into quotes.",
        "- Anchors and aliases are allowed. Tags (`!!str`), `<<` and directives (`%YAML`) are not.",
        (
            f"- Keys of the file are {', '.join(f'`{key}`' for key in stack_file.FILE_KEYS)}. Below `config` a key has the namespace of its project, "
            "or none, which means the same. "
            f"Beside them the engine reads {', '.join(f'`pulumi:{key}`' for key in stack_file.ENGINE_KEYS)}; keys of other namespaces are refused."
        ),
        (
            "- The order of accounts, classes and roles never counts: they are sorted by name. So the managers of classes are rolled one after the other "
            "in the order of the classes' names."
        ),
        (
            "- The only secrets are below `tokens`, encrypted by `pulumi config set --secret`. A token, a key or a password anywhere else, also in a comment, is "
            "refused, and no message repeats it."
        ),
    )


def objects(models: dict[str, type[BaseModel]], project: str, program: str) -> Iterator[str]:
    """Describe each object that a program's `Pulumi.yaml` declares, in its order."""
    declared = yaml.safe_load((load.ROOT / program).read_text())["config"]
    for key, declaration in declared.items():
        name = key.removeprefix(f"{project}:")
        yield from ("", f"## `{key}`", "", f"{declaration['description']}.")
        if name in models:
            yield from names_of(name)
            yield ""
            yield from table(KEYS, keys_of(models[name], ""))
        if name == "runners":
            yield from executors()


def executors() -> Iterator[str]:
    """Describe the further keys of a class for each executor."""
    for executor, model in MODELS.items():
        yield from ("", f"### `executor: {executor}`", "")
        yield f"{(model.__doc__ or '').partition('.')[0]}. Further keys:"
        yield ""
        yield from table(
            KEYS, (row for row in keys_of(model, "") if row[0].split(".")[0].strip("`") not in Runner.model_fields)
        )


def names_of(key: str) -> Iterator[str]:
    """Describe the names that a person may choose below a key, in the words of the check's own message."""
    if key in NAME_CHECKS:
        problem = next(iter(NAME_CHECKS[key]({"?": None})))
        yield from ("", f"Names: {problem.message.partition('; use ')[2]}.")


def keys_of(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str, str, str]]:
    """List key, type, limits, default and description of a model's fields, nested ones behind a dot."""
    documentation = field_documentation(model)
    for name, field in model.model_fields.items():
        annotation, text = documentation[name]
        limits = "; ".join(dict.fromkeys(limits_of(field))) or "-"
        yield (
            f"`{prefix}{name}`",
            type_of(field.annotation, field.metadata),
            limits,
            default_of(field, annotation),
            text,
        )
        for section in sections_of(field.annotation):
            yield from keys_of(section, f"{prefix}{name}.")


def type_of(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Name the kind of value that a stack file has at a key."""
    words = [mark.type for mark in metadata if isinstance(mark, Allowed)]
    if words:
        return words[-1]
    arguments, origin = typing.get_args(annotation), typing.get_origin(annotation)
    if origin is typing.Annotated:
        return type_of(arguments[0], arguments[1:])
    if origin is tuple:
        return f"list of {type_of(arguments[0])}s"
    if origin is typing.Literal:
        return type_of(type(arguments[0]))
    if arguments:  # a union with None
        return type_of(arguments[0])
    return {bool: "`true` or `false`", int: "number"}.get(annotation, "object" if sections_of(annotation) else "text")


def limits_of(field: FieldInfo) -> Iterator[str]:
    """List the limits of a field's value: its choices, range and number of entries, and what its validators demand."""
    if choices := choices_of(field.annotation):
        yield ", ".join(choices)
    bounds = {type(mark): mark for mark in field.metadata}
    if Ge in bounds and Le in bounds:
        yield f"{bounds[Ge].ge} to {bounds[Le].le}"
    elif Ge in bounds:
        yield f"{bounds[Ge].ge} or more"
    fewest, most = bounds.get(MinLen), bounds.get(MaxLen)
    if fewest or most:
        words = [f"at least {fewest.min_length}"] if fewest else []
        words += [f"at most {most.max_length}"] if most else []
        yield f"{', '.join(words)} entries"
    yield from [mark.limits for mark in [*marks_of(field.annotation), *field.metadata] if isinstance(mark, Allowed)][
        -1:
    ]


def marks_of(annotation: Any) -> Iterator[Any]:
    """List what stands beside the types within an annotation."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Annotated:
        yield from arguments[1:]
        arguments = arguments[:1]
    for argument in arguments:
        yield from marks_of(argument)


def field_documentation(model: type[BaseModel]) -> dict[str, tuple[str, str]]:
    """Read annotation and docstring of each field from the source of a model and of its bases."""
    bases = (base for base in reversed(model.__mro__) if issubclass(base, Section) and base is not Section)
    return {name: texts for base in bases for name, texts in _own_documentation(base).items()}


def _own_documentation(model: type[BaseModel]) -> dict[str, tuple[str, str]]:
    body = typing.cast("ast.ClassDef", ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]).body
    documentation = {}
    for node, following in zip(body, [*body[1:], None], strict=True):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id in model.model_fields
        ):
            if not (isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)):
                raise TypeError(f"{model.__name__}.{node.target.id} has no docstring; write one below the field")
            text = " ".join(str(following.value.value).split())
            documentation[node.target.id] = (ast.unparse(node.annotation), text)
    return documentation


def default_of(field: FieldInfo, annotation: str) -> str:
    """Write a field's default as a stack file would have it."""
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return "none"
    if field.default == ():
        return "`[]`"
    if isinstance(field.default, Section):
        return "none"
    if any(isinstance(mark, Allowed) and mark.type == "size" for mark in field.metadata):
        return f"`{memory_text(field.default)}`"
    return f"`{duration_text(field.default) if 'Seconds' in annotation else str(field.default).lower()}`"


def choices_of(annotation: Any) -> list[str]:
    """List the values of a literal or an enumeration, wherever it stands in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [f"`{member.value}`" for member in annotation]
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return [f"`{argument}`" for argument in arguments]
    return [choice for argument in arguments for choice in choices_of(argument)]


def sections_of(annotation: Any) -> list[type[Section]]:
    """List the nested objects of an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for argument in typing.get_args(annotation) for section in sections_of(argument)]


def times(longest_job: str) -> list[str]:
    """Compute the times that follow from a longest job."""
    derived = disruption(parse_duration(longest_job))
    seconds = (
        derived.gitlab_timeout,
        derived.manager_grace,
        derived.node_grace,
        derived.expire_after,
        derived.delete_timeout,
    )
    return [longest_job, *map(duration_text, seconds)]


def policy_rules() -> Iterator[str]:
    """Describe each rule of the policy pack."""
    yield from ("# Rules of the policy pack", "", NOTE, "")
    yield "Find the id of your finding here. [policies.md](../operate/policies.md) tells you how to read a finding. Ids are those of the attack"
    yield "study behind the rules; A01 to A30 are its attacks ([attacks.md](../understand/attacks.md)). You can set thresholds, but no levels."
    yield ""
    header = ("id", "policy", "demands", "stops", "level", "thresholds")
    yield from table(
        header,
        [
            (
                rule.id,
                f"`{rule.name}`",
                rule.demands,
                rule.stops,
                f"{rule.level.value}, {rule.severity.value}",
                ", ".join(f"`{option}`" for option in rule.options) or "-",
            )
            for rule in RULES
        ],
    )


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Write a table in Markdown."""
    titles = list(header)
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def outdated() -> list[str]:
    """Name the pages that differ from the code."""
    return [
        name for name, text in pages().items() if not (FOLDER / name).is_file() or (FOLDER / name).read_text() != text
    ]


def main() -> int:
    """Say which pages are outdated, or write them."""
    parser = argparse.ArgumentParser(description="The pages of docs/reference, made from the code.")
    parser.add_argument("--write", action="store_true", help="renew the pages")
    if parser.parse_args().write:
        for name, text in pages().items():
            (FOLDER / name).write_text(text)
        return 0
    for name in outdated():
        typer.echo(f"docs/reference/{name} differs from the code; run: {RENEW}")
    return int(bool(outdated()))


if __name__ == "__main__":
    raise SystemExit(main())
