"""One reader of stack files, which gives what the engine gives the program, and refuses what the two could read differently.

The engine reads with Go's yaml.v3: `no` and `on` are text, `010` is eight, a key that is written twice is an error. PyYAML's loaders are YAML 1.1
(`no` is false, the last of two keys wins) and ruamel.yaml is YAML 1.2 (`010` is ten, other directives), so this reader takes PyYAML's parser,
which is of the same family as yaml.v3's (libyaml), and decides on its events itself what a scalar is. `tests/config/test_stack_file.py` holds the
engine's answers, and `tests/platform/test_engine_reading.py` asks it anew.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import yaml
from yaml import events

from config.errors import Problem, SettingsError, quoted, unknown_key
from config.redaction import REVOKE, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LARGEST_FILE = 128 * 1024
"""Bytes. Linux hands a program at most 128 KiB in one environment variable, and the engine hands over all settings in one."""
LARGEST_SETTINGS = 120_000
"""Bytes of the settings in that variable, `PULUMI_CONFIG`, where aliases are written out and quotes doubled."""
DEEPEST = 20
"""Levels of lists and objects; the settings have six."""
ALIAS_FACTOR = 10
"""Values that aliases stand for, as a multiple of those that are written; the engine refuses about a hundred."""
FILE_KEYS = ("config", "encryptionsalt", "encryptedkey", "secretsprovider")
"""Keys of a stack file that the engine reads, beside `environment`."""
ENGINE_KEYS = ("disable-default-providers", "tags", "template")
"""Keys of the namespace `pulumi` that a stack file may have. `autonaming` would change names that the policies rely on."""

_CONSTANTS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_CONSTANTS |= {word: text == "true" for text in ("true", "false") for word in (text, text.title(), text.upper())}
_NUMBER = re.compile(
    r"[-+]?(0[xXbBoO][0-9a-fA-F_]+|(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))|\.(nan|NaN|NAN)"
)
"""All that a reader of YAML may take for a number."""
_PLAIN_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,14}|-?(0|[1-9][0-9]{0,5})\.[0-9]{0,5}[1-9]")
"""The numbers that all readers of YAML and JSON read, and write, alike."""
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Characters that nobody sees, or that turn the direction of what follows."""

Keys = tuple[str, ...]
"""Keys from the top of the file down to a value."""


@dataclass(frozen=True, kw_only=True)
class StackFile:
    """The content of one stack file."""

    values: Mapping[str, Any]
    """Settings by key, without the project's namespace; secrets stay encrypted."""
    problems: tuple[Problem, ...]
    """What the engine reads differently or refuses, what nobody reads, and secrets in clear."""
    lines: Mapping[str, int]
    """Line of every key, by dotted path as in `Problem.path`."""


def read(path: Path, project: str) -> StackFile:
    """Read a stack file of a project.

    Raises:
        SettingsError: there is no such file, or it is not one YAML document with `config`.
    """
    return parse(_text_of(path), path.name, project)


def parse(text: str, name: str, project: str) -> StackFile:
    """Read the text of a stack file.

    Args:
        text: the file's content.
        name: the file's name, for the error.
        project: name of the Pulumi project, which is the namespace of its settings.

    Raises:
        SettingsError: the text is not one YAML document with `config`.
    """
    reader = _Reader(text, name, project)
    document = reader.document()
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict):
        reader.refuse(("config",), f"is missing; write config: with keys such as {project}:organization")
    reader.check_keys(document)
    values = dict(reader.settings(config))
    length = len(json.dumps({key: json.dumps(value) for key, value in values.items()}))
    if length > LARGEST_SETTINGS:
        reader.refuse(
            ("config",), f"has {length} bytes of settings, and a program takes {LARGEST_SETTINGS}; shorten it"
        )
    return StackFile(values=values, problems=tuple(reader.problems), lines=reader.lines)


def document_of(path: Path) -> Mapping[str, Any]:
    """Read all keys of a stack file of any project; an empty file has none.

    Raises:
        SettingsError: there is no such file, or it is no YAML.
    """
    document = _Reader(_text_of(path), path.name, "").document()
    return document if isinstance(document, dict) else {}


def stack_of(name: str) -> str:
    """Return the stack of a file's name: `dev` of `Pulumi.dev.yaml`."""
    return name.removeprefix("Pulumi.").removesuffix(".yaml")


def _text_of(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            _refuse(path.name, "is not a file; move away what has its name, and write the settings into a file")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        stack_files = ", ".join(sorted(file.name for file in path.parent.glob("Pulumi.*.yaml"))) or "none"
        message = f"there is no {path.name}; stack files here: {stack_files}"
        raise SettingsError(path.name, [Problem(path="stack", message=message)]) from None
    except OSError as error:
        _refuse(path.name, f"cannot be read: {error.strerror}; give yourself the right to read it")
    if len(content) > LARGEST_FILE:
        _refuse(path.name, f"has more than {LARGEST_FILE // 1024} KiB, which no program takes; shorten it")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        _refuse(path.name, f"is not UTF-8: byte 0x{content[error.start]:02x} in line {line}; save it as UTF-8")


def _refuse(name: str, message: str) -> NoReturn:
    raise SettingsError(name, [Problem(path="file", message=message)]) from None


class _Reader:
    """Builds the values of one document from the parser's events, and collects the problems."""

    def __init__(self, text: str, name: str, project: str) -> None:
        self.text, self.name, self.project = text, name, project
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}
        self._events: Iterator[Any] = iter(())
        self._anchors: dict[str, tuple[Any, int]] = {}
        """Value by anchor, with the number of values in it."""
        self._written = self._aliased = 0
        self._secret_lines: set[int] = set()

    def refuse(self, path: Keys, message: str) -> NoReturn:
        """End the reading with a last problem."""
        self._report(path, message)
        raise SettingsError(self.name, self.problems) from None

    def document(self) -> Any:
        """Build the only document, and check what stands around it."""
        if unread := re.search(r"^ *\t|\0", self.text, re.MULTILINE):
            what = "a tab before its text; indent with spaces" if "\t" in unread[0] else "a NUL byte; remove it"
            self.refuse((), f"line {self._line(unread.end())} has {what}")
        self._events = yaml.parse(self.text, Loader=yaml.SafeLoader)
        try:
            value = self._document()
        except yaml.MarkedYAMLError as error:
            # The library's own text would repeat the line, and with it a secret.
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            self.refuse((), f"is not YAML: {error.problem or error.context} in line {line}; correct that line")
        except yaml.reader.ReaderError as error:
            self.refuse((), f"line {self._line(error.position)} has a control character; remove it")
        except (ValueError, OverflowError):
            self.refuse(
                (), r"is not YAML: an escape such as \U0 or a number in a directive is out of range; correct it"
            )
        self._check_comments()
        return value

    def _line(self, position: int) -> int:
        return self.text.count("\n", 0, position) + 1

    def _document(self) -> Any:
        next(self._events)  # the stream begins
        start = next(self._events)
        if not isinstance(start, events.DocumentStartEvent):
            return None
        if start.version or start.tags:
            self._report((), "begins with a directive (%YAML or %TAG), which the engine may refuse; drop that line")
        value = self._value(next(self._events), ())
        next(self._events)  # the document ends
        if not isinstance(next(self._events), events.StreamEndEvent):
            self._report((), "holds a second document, which the engine ignores; drop it, and the line --- before it")
        return value

    def _value(self, event: Any, path: Keys) -> Any:
        if len(path) > DEEPEST:
            self.refuse(path, f"lies more than {DEEPEST} levels deep, as no setting does; write it flat")
        if isinstance(event, events.AliasEvent):
            return self._alias(event, path)
        before = self._written + self._aliased
        self._written += 1
        self._anchors.pop(event.anchor, None)
        if event.tag is not None:
            self._report(path, f"has the tag {quoted(event.tag)}, which readers take differently; drop it")
        if isinstance(event, events.ScalarEvent):
            value = self._scalar(event, path)
        elif isinstance(event, events.SequenceStartEvent):
            value = self._list(path)
        else:
            value = self._object(path)
        if event.anchor:
            self._anchors[event.anchor] = value, self._written + self._aliased - before
        return value

    def _alias(self, event: Any, path: Keys) -> Any:
        if event.anchor not in self._anchors:
            self.refuse(path, f"is *{event.anchor}, and no anchor above is complete by that name; write the value out")
        value, size = self._anchors[event.anchor]
        self._aliased += size
        if self._aliased > ALIAS_FACTOR * (self._written + ALIAS_FACTOR):
            self.refuse(path, f"is *{event.anchor}, and aliases stand for most of the file; write the values out")
        return value

    def _list(self, path: Keys) -> list[Any]:
        members: list[Any] = []
        while not isinstance(event := next(self._events), events.SequenceEndEvent):
            members.append(self._value(event, (*path, str(len(members)))))
        return members

    def _object(self, path: Keys) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self._events), events.MappingEndEvent):
            line = event.start_mark.line + 1
            key_path = (*path, f"<key in line {line}>")
            key = self._value(event, key_path)
            if isinstance(key, str):
                key_path = (*path, key)
            value = self._value(next(self._events), key_path)
            if not isinstance(key, str):
                self._report(key_path, f"{quoted(key)} is not text; write the key in quotes")
            elif key == "<<":
                self._report(
                    key_path, "merges an object into this one, which readers do differently; write its keys out"
                )
            elif key in values:
                message = f"is written twice, in lines {lines[key]} and {line}, which the engine refuses; keep one"
                self._report(key_path, message)
            else:
                values[key], lines[key] = value, line
                if setting := self._setting(key_path):
                    self.lines.setdefault(setting, line)
        return values

    def _scalar(self, event: Any, path: Keys) -> Any:
        text, line = event.value, event.start_mark.line
        if kind := kind_of(text):
            self._secret_lines.update(range(line, event.end_mark.line + 1))
            self._report(path, f"holds {kind} in clear (line {line + 1}); {REVOKE}")
        if unseen := _UNSEEN.search(text):
            self._report(path, f"holds the character U+{ord(unseen[0]):04X}, which nobody sees; remove it")
        if "\n" in text and text[0].isspace():
            self._report(path, "begins with an empty line or a space, which the engine loses; begin with the text")
        return self._plain(event, path) if event.style is None else self._quoted(event, path)

    def _quoted(self, event: Any, path: Keys) -> str:
        source = self.text[event.start_mark.index : event.end_mark.index]
        if event.style == '"' and re.search(r"(?<!\\)(\\\\)*\\/", source):
            self._report(path, r"has the escape \/, which the engine does not know; write / alone")
        return str(event.value)

    def _plain(self, event: Any, path: Keys) -> Any:
        text = event.value
        end = event.end_mark.index
        if re.match(r":[,\[\]{}]", self.text[end : end + 2]):
            self._report(
                path, "has a colon without a space behind it, which readers take differently; write `key: value`"
            )
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _PLAIN_NUMBER.fullmatch(text):
            return json.loads(text)
        if _NUMBER.fullmatch(text):
            self._report(
                path, f"{text} is a number that readers take differently; write text in quotes, numbers like 5 or 1.5"
            )
        elif _DATE.fullmatch(text):
            self._report(path, f"{text} is a date, which readers take differently; write it in quotes")
        return text

    def _check_comments(self) -> None:
        for number, line in enumerate(self.text.split("\n")):
            if number not in self._secret_lines and (kind := kind_of(line)):
                self._report((f"line {number + 1}",), f"holds {kind} in a comment; {REVOKE}")

    def check_keys(self, document: Mapping[str, Any]) -> None:
        """Report keys of the file that the engine does not read, or that no check could."""
        for key in document:
            if key == "environment":
                self._report((key,), "adds settings of Pulumi Cloud, which no check sees; write them into this file")
            elif key not in FILE_KEYS:
                self._report((key,), unknown_key(key, FILE_KEYS))

    def settings(self, config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Pick the project's settings, and report those that nobody reads. A key without a namespace is the project's."""
        for key, value in config.items():
            namespace, colon, name = key.rpartition(":")
            path = ("config", key)
            if not colon and f"{self.project}:{key}" in config:
                self._report((f"config.{key}",), f"is written as {self.project}:{key}, too; keep one")
            elif not colon or namespace == self.project:
                yield name, value
            elif namespace != "pulumi":
                self._report(
                    path,
                    f"is read by nobody, since {quoted(namespace)} is not the namespace of this project, and the program gives providers their options; "
                    f"write {self.project}:{name}, or drop it",
                )
            elif name not in ENGINE_KEYS:
                self._report(path, unknown_key(name, ENGINE_KEYS))

    def _report(self, path: Keys, message: str) -> None:
        self.problems.append(Problem(path=self._name(path) or "file", message=message))

    def _name(self, path: Keys) -> str:
        return self._setting(path) or ".".join(path)

    def _setting(self, path: Keys) -> str:
        """Name a setting as the settings do: `runners.small`, not `config.runner-platform:runners.small`; empty for other keys."""
        if path[:1] != ("config",) or len(path) == 1:
            return ""
        namespace, colon, name = path[1].rpartition(":")
        return ".".join((name, *path[2:])) if not colon or namespace == self.project else ""
