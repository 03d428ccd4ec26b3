"""Patterns of paths: the cases of Ruby's File.fnmatch (docs.ruby-lang.org/en/3.2/File.html) with the flags that GitLab sets."""

from __future__ import annotations

import pytest

from runner_platform_sandbox.gitlab.ci.globs import matches


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("cat", "cat", True),
        ("cat", "category", False),
        ("c{at,ub}s", "cats", True),
        ("c{at,ub}s", "cuts", False),
        ("c?t", "cat", True),
        ("c??t", "cat", False),
        ("c*", "cats", True),
        ("c*/t", "c/a/b/t", False),
        ("ca[a-z]", "cat", True),
        ("ca[^t]", "cat", False),
        ("cat", "CAT", False),
        ("?", "/", False),
        ("*", "dave/.profile", False),
        ("*/*", "dave/.profile", True),
        ("**/*.rb", "lib/song/karaoke.rb", True),
        ("**/*.rb", "main.rb", True),
        ("**.rb", "lib/song.rb", False),
        ("**/foo", "a/b/c/foo", True),
        ("**/foo", "/a/b/c/foo", False),
        ("**/foo", "a/.b/c/foo", True),
        ("docs/**", "docs/use/page.md", False),
        ("docs/**/*", "docs/use/page.md", True),
        ("docs/**/*", "docs/page.md", True),
        ("docs/**/*", "docs.md", False),
        ("*.{yml,yaml}", "pipeline.yaml", True),
        ("a.b", "axb", False),
        (r"\*", "*", True),
        (r"\*", "x", False),
        ("a}b,c", "a}b,c", True),
    ],
)
def test_a_pattern_matches_as_in_ruby(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected
