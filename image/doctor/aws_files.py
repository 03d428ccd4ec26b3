"""AWS config and credentials files, read more tolerantly than any SDK, with the places that SDKs read differently."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_HEADER = re.compile(r"\s*\[(?P<header>[^\]]*)\]")
_PROFILE = re.compile(r"(?P<before>\s*)(?P<word>profile(?=[\s\"']))?(?P<gap>\s*)(?P<name>.*?)\s*$")
_COMMENT = re.compile(r"\s[#;].*$")
_LINE_END = re.compile(r"\r\n|\r|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_SECTIONS = ("sso-session ", "services ", "plugins", "preview")


@dataclass(kw_only=True)
class Section:
    """A section of a file."""

    header: str
    """Text between the brackets, as it is written."""
    line: int
    profile: str
    """Name of the profile, as the most tolerant SDK reads it; empty for another kind of section."""
    keys: dict[str, str] = field(default_factory=dict)
    """Values by setting, in lower case, without quotes and comments."""
    traps: dict[str, int] = field(default_factory=dict)
    """Line by the name of a place that SDKs read differently; it concerns this profile alone."""


@dataclass(kw_only=True)
class AwsFile:
    """A whole file."""

    file: Path
    sections: list[Section] = field(default_factory=list)
    traps: dict[str, int] = field(default_factory=dict)
    """As in a section, for places that concern every profile."""

    def of_profile(self, name: str) -> list[Section]:
        """Return the sections of a profile, in their order."""
        return [section for section in self.sections if section.profile == name]

    def keys(self, name: str) -> dict[str, str]:
        """Return the settings of a profile; those of the last section win."""
        sections = self.of_profile(name)
        plain = [section for section in sections if section.header == name] if name == "default" else []
        return {key: value for section in plain or sections for key, value in section.keys.items()}


def read(file: Path, *, credentials: bool = False) -> AwsFile:
    """Read a file.

    Args:
        file: path of the file.
        credentials: whether it is a credentials file, in which a section is named like its profile.

    Raises:
        OSError: it cannot be read.
    """
    if file.exists() and not file.is_file() and not file.is_dir():
        raise OSError(errno.EINVAL, "it is not a regular file")  # reading a pipe would take it from the job
    content = file.read_bytes()
    aws_file = AwsFile(file=file)
    if content.startswith(_BYTE_ORDER_MARK):
        aws_file.traps["a byte order mark"] = 1
        content = content.removeprefix(_BYTE_ORDER_MARK)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        aws_file.traps["text that is not UTF-8"] = content.count(b"\n", 0, error.start) + 1
        text = content.decode(errors="replace")
    indentation = None
    for number, line in enumerate(_LINE_END.split(text), 1):
        header = _HEADER.match(line)
        if not line.strip() or line.strip()[0] in "#;":
            continue
        depth = len(line) - len(line.lstrip())
        if header:
            if depth:
                aws_file.traps.setdefault("an indented section", number)
            aws_file.sections.append(_section(aws_file, header["header"], number, credentials=credentials))
            indentation = None
        elif indentation is None or depth <= indentation:
            _setting(aws_file, line, number)
            indentation = depth  # a line that is further in continues the setting
    return aws_file


def _section(aws_file: AwsFile, header: str, line: int, *, credentials: bool) -> Section:
    if any(section.header == header for section in aws_file.sections):
        aws_file.traps.setdefault("a section twice", line)
    section = Section(header=header, line=line, profile="" if header.startswith(_OTHER_SECTIONS) else header.strip())
    if credentials or not section.profile or section.profile == "default":
        return section
    match = _PROFILE.match(header)
    if match is None:
        return section
    name = match["name"]
    section.profile = name.strip("\"'")
    shape = {
        "a profile's name in quotes": name != section.profile,
        "a space before the word profile": bool(match["before"] and match["word"]),
        "spaces around a profile's name": bool(match["word"]) and (len(match["gap"]) > 1 or header != header.rstrip()),
        "a section without the word profile": not match["word"],
    }
    section.traps.update({trap: line for trap, present in shape.items() if present})
    return section


def _setting(aws_file: AwsFile, line: str, number: int) -> None:
    key, equals, value = line.partition("=")
    key, value = key.strip(), value.strip()
    if not aws_file.sections:
        aws_file.traps.setdefault("a line before the first section", number)
        return
    section = aws_file.sections[-1]
    if not equals:
        key, colon, value = (part.strip() for part in line.partition(":"))
        if not colon:
            aws_file.traps.setdefault("a line that is no setting", number)
            return
        section.traps.setdefault("a colon for an equals sign", number)
    if key.lower() in section.keys:
        aws_file.traps.setdefault("a setting twice", number)
    plain = _COMMENT.sub("", value)
    if plain != value:
        section.traps.setdefault("a comment after a value", number)
    if plain[:1] in {'"', "'"} and plain[-1:] == plain[:1] and len(plain) > 1:
        section.traps.setdefault("a value in quotes", number)
        plain = plain[1:-1]
    if key != key.lower():
        section.traps.setdefault("a setting in capitals", number)
    section.keys[key.lower()] = plain
