"""Text that others may have written, in GitLab's Markdown, so that it is only ever text.

Names and values come from a branch that nobody has reviewed. In a note, a line that begins with a slash is a quick action of whoever
posts it, `@name` notifies, HTML is rendered, and an HTML comment could pass for the note's own marker.
https://docs.gitlab.com/user/project/quick_actions/
"""

from __future__ import annotations

import re

LONGEST_VALUE = 300
"""Characters of a value that a report shows."""
_QUICK_ACTION = re.compile(r"^(\s*(?:[>*+-]\s+|\d+[.)]\s+)*)/(?=[a-zA-Z_])", re.MULTILINE)
_MENTION = re.compile(r"(?<![\w`])@(?=[\w\"])")
_COMMENT = re.compile(r"<!--|--!?>")


def code(text: str) -> str:
    """A code span that shows the text on one line, cut where it is long."""
    line = cut(" ".join(text.split()))
    fence = "`" * (max((len(run) for run in re.findall(r"`+", line)), default=0) + 1)
    space = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{space}{line}{space}{fence}"


def cell(text: str) -> str:
    """A code span within a table: a pipe would end the cell even there."""
    return code(text).replace("|", "\\|")


def cut(text: str, longest: int = LONGEST_VALUE) -> str:
    """The beginning of a text, and how long the whole is where that is more."""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"


def harmless(markdown: str) -> str:
    """Markdown of an unreviewed branch, without quick actions, mentions and HTML comments; all else stays as it reads."""
    markdown = _COMMENT.sub(
        lambda found: found[0].replace("<", "&lt;").replace(">", "&gt;"), markdown.replace("\r", "\n")
    )
    return _MENTION.sub("@\u2060", _QUICK_ACTION.sub(r"\1\\/", markdown))


def details(title: str, body: str) -> str:
    """A part that is folded until somebody opens it; the title is trusted, the body is Markdown."""
    return f"<details><summary>{title}</summary>\n\n{body.strip()}\n\n</details>\n"
