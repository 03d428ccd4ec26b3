"""Expressions of `rules: if`.

What each case expects is what GitLab documents (docs.gitlab.com/ci/jobs/job_rules/#cicd-variable-expressions) or tests itself
(spec/lib/gitlab/ci/pipeline/expression/statement_spec.rb of GitLab, at 0286e4c6).
"""

from __future__ import annotations

import pytest

from runner_platform_sandbox.gitlab.ci.errors import PipelineError
from runner_platform_sandbox.gitlab.ci.expressions import evaluate, is_true

VALUES = {
    "BRANCH": "feature/login",
    "EMPTY": "",
    "FOLDER": "/srv/app/current",
    "ANCHORED": "/^feature/",
    "OTHER": "/^release/",
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        # Equality, on both sides and with both quotes; null is what no variable has
        ('$BRANCH == "feature/login"', True),
        ("$BRANCH == 'feature/login'", True),
        ('"feature/login" == $BRANCH', True),
        ('$BRANCH != "main"', True),
        ('$BRANCH != "feature/login"', False),
        ("$BRANCH == $BRANCH", True),
        ("$BRANCH == $EMPTY", False),
        ("$BRANCH == null", False),
        ("$EMPTY == null", False),
        ('$EMPTY == ""', True),
        ("$NOWHERE == null", True),
        ("null == $NOWHERE", True),
        ("$NOWHERE != null", False),
        ('$NOWHERE == ""', False),
        ("$NOWHERE == $NEITHER", True),
        # A value alone is itself
        ("$BRANCH", "feature/login"),
        ("$EMPTY", ""),
        ("$NOWHERE", None),
        # Patterns, with an escaped slash, flags, and a variable on the right
        ("$BRANCH =~ /^feature/", True),
        ("$BRANCH =~ /^login/", False),
        ("$BRANCH !~ /^login/", True),
        ("$BRANCH =~ /LOGIN$/i", True),
        ("$BRANCH =~ /LOGIN$/", False),
        (r"$FOLDER =~ /^\/srv\/app\/current$/", True),
        (r"$FOLDER =~ /^\/srv\/other/", False),
        ("$EMPTY =~ /log.*/", False),
        ("$NOWHERE =~ /log.*/", False),
        ("$NOWHERE !~ /log.*/", True),
        ("$BRANCH =~ $ANCHORED", True),
        ("$BRANCH =~ $OTHER", False),
        ("$BRANCH =~ $NOWHERE", False),
        # A right side that is no pattern: the left side is looked for in it
        ('"23" =~ "1234"', True),
        ('"23" =~ /1234/', False),
        # && and || give back an operand; an empty text does not stop &&
        ('$BRANCH && "text"', "text"),
        ("$EMPTY && $BRANCH", "feature/login"),
        ("$BRANCH && $EMPTY", ""),
        ("null && $BRANCH", None),
        ("$NOWHERE || $BRANCH", "feature/login"),
        ("$EMPTY || $BRANCH", ""),
        # && binds stronger than ||; parentheses change that
        ('$BRANCH && null || $EMPTY == ""', True),
        ('$BRANCH == "x" && $NOWHERE || $BRANCH', "feature/login"),
        ('$BRANCH || $NOWHERE && $EMPTY == "x"', "feature/login"),
        ('($BRANCH || $NOWHERE) && $EMPTY == "x"', False),
        ("(($BRANCH))", "feature/login"),
        ('("a" || "b") == "a"', True),
        ('("b" == ("a" && "b"))', True),
        ('("b" == ("a" || "b"))', False),
        ('$BRANCH == "x" || (($BRANCH =~ /login/ || $NOWHERE) && $FOLDER)', "/srv/app/current"),
        # true and false
        ("true == true", True),
        ("true && false", False),
    ],
)
def test_an_expression_has_the_value_that_gitlab_gives_it(expression: str, value: object) -> None:
    assert evaluate(expression, VALUES) == value
    assert is_true(expression, VALUES) is bool(value)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "it ends where a value is expected"),
        ('$BRANCH "text"', "follows a complete expression"),
        ('== "main"', "stands where a value is expected"),
        ("$BRANCH ==", "it ends where a value is expected"),
        ("($BRANCH", "a parenthesis is not closed"),
        ("$BRANCH)", "follows a complete expression"),
        ("12345", "begins with nothing that GitLab knows"),
        ("$BRANCH = 'main'", "begins with nothing that GitLab knows"),
        ("$BRANCH =~ issue-/.*/", "begins with nothing that GitLab knows"),
        ("$BRANCH =~ /./", "begins with nothing that GitLab knows"),
        ("$BRANCH =~ /(unclosed/", "is no regular expression"),
        ("$BRANCH =~ /^(?!main)/", "which GitLab's RE2 lacks"),
        (r"$BRANCH =~ /(a)\1b/", "which GitLab's RE2 lacks"),
    ],
)
def test_an_expression_outside_of_gitlabs_grammar_is_refused_with_the_reason(expression: str, reason: str) -> None:
    with pytest.raises(PipelineError, match=r"no valid expression") as refusal:
        is_true(expression, VALUES)
    assert reason in str(refusal.value)
    assert expression in str(refusal.value)


def test_a_variable_inside_a_pattern_is_not_replaced() -> None:
    # docs.gitlab.com/ci/jobs/job_rules/#store-a-regular-expression-in-a-variable
    assert not is_true("$NAME =~ /$PART/", {"NAME": "regex-job1", "PART": "regex-job1"})
