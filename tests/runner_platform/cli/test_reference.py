"""The reference pages against the code that they are made from."""

from __future__ import annotations

import pytest
from pydantic_core import PydanticUndefined

from config import foundation, settings
from config.runners import KubernetesRunner as Runner
from config.sections import Section
from runner_platform.cli import reference
from runner_platform.cli.main import COMMANDS


def test_the_pages_say_what_the_code_says() -> None:
    assert reference.outdated() == [], f"run: {reference.RENEW}"


def test_every_key_of_a_class_has_its_default() -> None:
    rows = {key.strip("`"): default.strip("`") for key, _, _, default, _ in reference.keys_of(Runner, "")}
    assert [key for key in rows if "." not in key] == list(Runner.model_fields)
    for name, field in Runner.model_fields.items():
        if field.default is PydanticUndefined:
            assert rows[name] == "required"
        elif field.default is not None:
            assert rows[name] == str(field.default).lower()


def test_every_object_of_the_stack_files_is_on_the_page() -> None:
    page = "\n".join(reference.settings_keys())
    for name in (*settings.OBJECTS, *settings.MAPPINGS, *settings.SECRET_KEYS):
        assert f"## `{settings.PROJECT}:{name}`" in page
    for name in reference.FOUNDATION:
        assert f"## `{foundation.PROJECT}:{name}`" in page


def test_every_command_of_the_platform_is_on_the_page_and_no_other() -> None:
    page = "\n".join(reference.commands())
    for name in COMMANDS:
        assert f"## runner-platform {name}" in page
    assert "## runner-platform sandbox" not in page, "the sandbox documents its own commands"


def test_a_key_without_a_description_is_refused() -> None:
    class Undescribed(Section):
        key: str

    with pytest.raises(TypeError, match="key has no docstring"):
        list(reference.keys_of(Undescribed, ""))


def test_every_key_that_holds_text_or_a_quantity_has_its_limits() -> None:
    rows = [line.split(" | ") for line in reference.settings_keys() if line.startswith("| `")]
    without = [key for key, kind, limits, *_ in rows if limits == "-" and kind not in {"`true` or `false`", "object"}]
    assert without == [], "write Allowed(…) of config/values.py beside the validator in the field's annotation"
