"""The runner's configuration is read as GitLab Runner reads it, by the recorded answers of its own reader."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

from access import runner_toml
from config import load

CASES = json.loads((load.ROOT / "tests" / "data" / "runner-toml-spellings.json").read_text())["cases"]
NEWER_SYNTAX = ("toml 1.1", "bom")
"""The runner reads these, and Python's reader of TOML 1.0 refuses them; a refused text is a finding of its own."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_text_is_read_as_the_runner_reads_it(case: dict[str, Any]) -> None:
    if case["name"].startswith(NEWER_SYNTAX):
        with pytest.raises(tomllib.TOMLDecodeError):
            runner_toml.read(case["text"])
        return
    if case.get("refused"):
        return  # whatever is read of it, no runner starts with it
    toml = runner_toml.read(case["text"])
    if len(case["read"]) > 1:
        assert toml.twice, "the runner takes either value, in the order of a Go map"
    else:
        assert [toml.runners] == case["read"]


def test_a_key_of_two_spellings_is_reported_with_its_path() -> None:
    toml = runner_toml.read("[[runners]]\n[runners.kubernetes]\nprivileged = false\nPrivileged = true\nHOST = 1\n")
    assert toml.twice == ["runners[0].kubernetes.Privileged"]
    assert toml.respelled == ["runners[0].kubernetes.HOST"]
    assert toml.runners == [{"kubernetes": {"privileged": True, "host": 1}}]


def test_keys_of_maps_keep_their_case_and_keys_of_the_cache_have_capitals() -> None:
    text = '[[runners]]\n[runners.feature_flags]\nFF_X = true\n[runners.cache.S3]\nbucketname = "b"\n'
    toml = runner_toml.read(text)
    assert toml.runners == [{"feature_flags": {"FF_X": True}, "cache": {"s3": {"BucketName": "b"}}}]


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ([1], [2], [1, 2]),
        ({"a": 1}, 2, 2),
        (1, {"a": 2}, {"a": 2}),
        ([1], 2, 2),
        (1, [2], [2]),
    ],
)
def test_two_spellings_of_a_key_are_merged_as_tables_and_lists(first: Any, second: Any, merged: Any) -> None:
    assert runner_toml._merged(first, second) == merged
