"""Escapes foreign text for GitLab's Markdown.

Names and values come from a branch that nobody has reviewed. In a note, GitLab runs a line that begins with a slash as a quick action of
the note's author, `@name` notifies, HTML is rendered, and an HTML comment could pass for the note's own marker.
https://docs.gitlab.com/user/project/quick_actions/
"""

from __future__ import annotations

import re

LONGEST_VALUE = 300
"""Longest value in a report, in characters."""
_QUICK_ACTION = re.compile(r"^(\s*(?:[>*+-]\s+|\d+[.)]\s+)*)/(?=[a-zA-Z_])", re.MULTILINE)
_MENTION = re.compile(r"(?<![\w`])@(?=[\w\"])")
_COMMENT = re.compile(r"<!--|--!?>")


def code(text: str) -> str:
    """A code span with the text on one line, cut if it is long."""
    line = cut(" ".join(text.split()))
    fence = "`" * (max((len(run) for run in re.findall(r"`+", line)), default=0) + 1)
    space = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{space}{line}{space}{fence}"


def cell(text: str) -> str:
    """A code span for a table cell, which a pipe would end even inside of the span."""
    return code(text).replace("|", "\\|")


def cut(text: str, longest: int = LONGEST_VALUE) -> str:
    """The text up to a length, followed by the length of the whole if it is cut."""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"


def harmless(markdown: str) -> str:
    """Markdown of an unreviewed branch, without quick actions, mentions and HTML comments."""
    markdown = _COMMENT.sub(
        lambda match: match[0].replace("<", "&lt;").replace(">", "&gt;"), markdown.replace("\r", "\n")
    )
    return _MENTION.sub("@\u2060", _QUICK_ACTION.sub(r"\1\\/", markdown))


def details(title: str, body: str) -> str:
    """A folded section; the title is trusted, the body is Markdown."""
    return f"<details><summary>{title}</summary>\n\n{body.strip()}\n\n</details>\n"
