"""Quantities: CPU, memory and durations are read as Kubernetes reads them and survive being written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import quantities
from config.errors import FieldError
from tests.support.generated_cases import QUICK, VALUES


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
def test_quantities_are_read_as_in_kubernetes(parse: Any, text: object, expected: int) -> None:
    assert parse(text) == expected


@QUICK
@given(value=VALUES)
def test_a_quantity_is_a_positive_number_or_refused(value: object) -> None:
    for parse in (quantities.parse_cpu, quantities.parse_memory, quantities.parse_duration):
        try:
            assert parse(value) > 0
        except FieldError as error:
            assert "write" in str(error), "the error says what to write"  # noqa: PT017  # both outcomes are right
