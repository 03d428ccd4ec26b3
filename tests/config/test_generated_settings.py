"""Generated settings files: parsing returns settings or a list of problems, and nothing else."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from config import foundation
from tests.support.generated_cases import KEYS, QUICK, VALUES
from tests.support.program import complaints, put, raw


def _paths(stack: str) -> list[str]:
    values = raw(stack)
    deep = [f"{key}.{inner_key}" for key, value in values.items() for inner_key in value]
    deeper = [f"{path}.{key}" for path in ("runners.small", "accounts.dev") for key in ("level", "accounts", "limits")]
    return [*values, *deep, *(deeper if stack != foundation.STACK else [])]


@QUICK
@given(data=st.data(), stack=st.sampled_from(["dev", foundation.STACK]))
def test_any_value_at_a_key_gives_settings_or_problems(data: st.DataObject, stack: str) -> None:
    values = raw(stack)
    put(values, data.draw(st.sampled_from(_paths(stack))), data.draw(VALUES))
    for path, message in complaints(values, stack).items():  # anything but SettingsError fails by itself
        assert path, "every problem has a path"
        assert message, "every problem has a message"


@QUICK
@given(
    values=st.dictionaries(st.sampled_from([*raw("dev"), "gitlab_oidc", "tags", "tokens"]) | KEYS, VALUES, max_size=6)
)
def test_any_content_of_a_file_gives_settings_or_problems(values: dict[str, Any]) -> None:
    assert complaints(values), "no generated file is complete"
