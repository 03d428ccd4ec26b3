"""Generated settings: whatever stands in a file, the answer is settings or a list of problems; quantities survive being written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import foundation, load, quantities
from config.errors import FieldError, SettingsError
from tests.support.program import complaints, put, raw

if TYPE_CHECKING:
    from pathlib import Path

QUICK = settings(max_examples=30, deadline=None, database=None)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1Gi", "4", "1h", "open", "cdk", "10.0.0.0/16", "aws", "dev", "*", "0.93.0"])
)
KEYS = st.text(max_size=6) | st.sampled_from(["id", "level", "cpu", "open", "existing", "access", "accounts", "limits"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)


def _paths(stack: str) -> list[str]:
    values = raw(stack)
    deep = [f"{key}.{inner_key}" for key, value in values.items() for inner_key in value]
    deeper = [f"{path}.{key}" for path in ("runners.small", "accounts.dev") for key in ("level", "accounts", "limits")]
    return [*values, *deep, *(deeper if stack != foundation.STACK else [])]


@QUICK
@given(data=st.data(), stack=st.sampled_from(["dev", foundation.STACK]))
def test_whatever_stands_at_a_key_is_settings_or_problems(data: st.DataObject, stack: str) -> None:
    values = raw(stack)
    put(values, data.draw(st.sampled_from(_paths(stack))), data.draw(VALUES))
    for path, message in complaints(values, stack).items():  # anything but SettingsError fails by itself
        assert path, "a problem that says not where is no help"
        assert message, "a problem that says not what is no help"


@QUICK
@given(
    values=st.dictionaries(st.sampled_from([*raw("dev"), "gitlab_oidc", "tags", "tokens"]) | KEYS, VALUES, max_size=6)
)
def test_whatever_a_file_holds_is_settings_or_problems(values: dict[str, Any]) -> None:
    assert complaints(values), "no generated file is complete"


@QUICK
@given(millicores=st.integers(1, 10**7))
def test_a_cpu_survives_being_written(millicores: int) -> None:
    assert quantities.parse_cpu(quantities.cpu_text(millicores)) == millicores


@QUICK
@given(size=st.integers(1, 2**40), unit=st.sampled_from(["Ki", "Mi", "Gi"]))
def test_a_size_survives_being_written(size: int, unit: str) -> None:
    parsed = quantities.parse_memory(f"{size}{unit}")
    assert quantities.parse_memory(quantities.memory_text(parsed)) == parsed


@QUICK
@given(seconds=st.integers(1, 10**6))
def test_a_duration_survives_being_written(seconds: int) -> None:
    assert quantities.parse_duration(quantities.duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (quantities.parse_cpu, "500m", 500),
        (quantities.parse_cpu, "1.5", 1500),
        (quantities.parse_cpu, 2, 2000),
        (quantities.parse_cpu, 0.25, 250),
        (quantities.parse_memory, "1G", 10**9),
        (quantities.parse_memory, "1Gi", 2**30),
        (quantities.parse_memory, " 512Mi ", 2**29),
        (quantities.parse_duration, "1h30m", 5400),
        (quantities.parse_duration, "90m", 5400),
        (quantities.parse_duration, "24h", 86400),
    ],
)
def test_quantities_mean_what_kubernetes_means(parse: Any, text: object, expected: int) -> None:
    assert parse(text) == expected


@QUICK
@given(value=VALUES)
def test_a_quantity_is_a_number_above_zero_or_a_refusal(value: object) -> None:
    for parse in (quantities.parse_cpu, quantities.parse_memory, quantities.parse_duration):
        try:
            assert parse(value) > 0
        except FieldError as error:
            assert "write" in str(error), "the refusal says what to write"  # noqa: PT017  # both outcomes are right


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "config: is missing; write config:"),
        ("[]", "config: is missing"),
        ("just words", "config: is missing"),
        ("config: [1]", "config: is missing"),
        ("config: {1: 2}", "organization: is missing"),
        ("config: {a: [}", "file: is not YAML"),
        ("\x00", "file: is not YAML"),
    ],
)
def test_a_file_without_configuration_is_reported(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load.settings.parse(load.raw_of(file, "runner-platform"), "dev", file.name)
    assert words in str(caught.value)


def test_a_missing_stack_file_is_reported_with_the_existing_ones(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.prod.yaml").write_text("")
    with pytest.raises(SettingsError, match=r"there is no Pulumi\.dev\.yaml; stack files here: Pulumi\.prod\.yaml"):
        load.raw_of(tmp_path / "Pulumi.dev.yaml", "runner-platform")
