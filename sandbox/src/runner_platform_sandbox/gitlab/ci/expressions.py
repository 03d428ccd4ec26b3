"""Expressions of `rules: if`: variables, strings, null, true and false, `==`, `!=`, `=~`, `!~`, `&&`, `||` and parentheses.

https://docs.gitlab.com/ci/jobs/job_rules/#cicd-variable-expressions
Values behave as in Ruby, GitLab's language: `&&` and `||` give back one of their operands, and an empty text counts as true for them, but not as
the result of the whole expression.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from runner_platform_sandbox.gitlab.ci.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Mapping

Value: TypeAlias = "str | bool | re.Pattern[str] | None"

_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<bracket>[()])
    | \$(?P<variable>\w+)
    | "(?P<double>.*?)" | '(?P<single>.*?)'
    | (?P<pattern>/(?:[^/]|\\/)+[^\\]/[ismU]*)
    | (?P<word>\b(?:null|true|false)\b)
    | (?P<operator>==|=~|!=|!~|&&|\|\|)
    )\s*""",
    re.VERBOSE,
)
_WORDS: Final[dict[str, Value]] = {"null": None, "true": True, "false": False}
_NOT_IN_RE2: Final = re.compile(r"\(\?(?:[=!]|<[=!])|\\[1-9]")
_COMPARISONS: Final = ("==", "!=", "=~", "!~")


def is_true(expression: str, values: Mapping[str, str]) -> bool:
    """Evaluate an expression.

    Args:
        expression: Text of `rules: if`.
        values: Values of variables, not expanded: GitLab compares the text as written.

    Raises:
        PipelineError: GitLab's grammar does not allow the expression.
    """
    return bool(evaluate(expression, values))


def evaluate(expression: str, values: Mapping[str, str]) -> Value:
    """Return the value of an expression. See `is_true`."""
    tokens = _tokens(expression)
    parser = _Parser(expression, tokens, values)
    result = parser.alternatives()
    if parser.next_token() is not None:
        raise _wrong(expression, f"`{parser.next_token()}` follows a complete expression")
    return result


def _wrong(expression: str, reason: str) -> PipelineError:
    return PipelineError(
        f'`if: {expression}` is no valid expression: {reason}; compare variables, as in $NAME == "value"'
    )


def _tokens(expression: str) -> list[re.Match[str]]:
    tokens: list[re.Match[str]] = []
    position = 0
    while position < len(expression):
        token = _TOKEN.match(expression, position)
        if token is None:
            raise _wrong(expression, f"`{expression[position:].strip()}` begins with nothing that GitLab knows")
        tokens.append(token)
        position = token.end()
    return tokens


class _Parser:
    """Evaluates tokens from the left, the weakest operator first."""

    def __init__(self, expression: str, tokens: list[re.Match[str]], values: Mapping[str, str]) -> None:
        self._expression = expression
        self._tokens = tokens
        self._values = values
        self._position = 0

    def next_token(self) -> str | None:
        """Return the text of the next token, or None at the end."""
        return self._tokens[self._position][0].strip() if self._position < len(self._tokens) else None

    def _take(self) -> re.Match[str]:
        if self._position == len(self._tokens):
            raise _wrong(self._expression, "it ends where a value is expected")
        self._position += 1
        return self._tokens[self._position - 1]

    def alternatives(self) -> Value:
        value = self._conjunction()
        while self.next_token() == "||":
            self._take()
            second = self._conjunction()
            value = second if value in {None, False} else value
        return value

    def _conjunction(self) -> Value:
        value = self._comparison()
        while self.next_token() == "&&":
            self._take()
            second = self._comparison()
            value = value if value in {None, False} else second
        return value

    def _comparison(self) -> Value:
        value = self._operand()
        while self.next_token() in _COMPARISONS:
            operator = self._take()["operator"]
            second = self._operand()
            value = value == second if operator in {"==", "!="} else _matches(value, second)
            value = value is operator.startswith("=")
        return value

    def _operand(self) -> Value:
        token = self._take()
        if token["bracket"] == "(":
            value = self.alternatives()
            if self.next_token() != ")":
                raise _wrong(self._expression, "a parenthesis is not closed")
            self._take()
            return value
        if token["variable"]:
            return self._values.get(token["variable"])
        if token["pattern"]:
            return _compiled(token["pattern"], self._expression)
        if token["word"]:
            return _WORDS[token["word"]]
        if token["operator"] or token["bracket"]:
            raise _wrong(self._expression, f"`{token[0].strip()}` stands where a value is expected")
        return token["double"] if token["double"] is not None else token["single"]


def _matches(text: Value, pattern: Value) -> bool:
    if pattern is None or isinstance(pattern, bool):
        return False
    text = text if isinstance(text, str) else ""
    if isinstance(pattern, re.Pattern):
        return pattern.search(text) is not None
    token = _TOKEN.fullmatch(pattern)
    if token and token["pattern"]:
        return _compiled(token["pattern"], pattern).search(text) is not None
    return text in pattern  # as GitLab documents for a right side that is no pattern


def _compiled(pattern: str, expression: str) -> re.Pattern[str]:
    body, _, letters = pattern[1:].rpartition("/")
    if _NOT_IN_RE2.search(body):
        raise _wrong(expression, f"{pattern} has a look-around or a back reference, which GitLab's RE2 lacks")
    flags = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}
    try:
        return re.compile(body.replace(r"\/", "/"), sum({flags[letter] for letter in letters if letter in flags}))
    except re.error as error:
        raise _wrong(expression, f"{pattern} is no regular expression ({error})") from None
