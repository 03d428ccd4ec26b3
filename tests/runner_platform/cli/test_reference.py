"""The reference pages against the code that they are made from."""

from __future__ import annotations

import pytest
import typer
from pydantic_core import PydanticUndefined
from typer.core import TyperGroup

from config import foundation, settings
from config.sections import Runner, Section
from runner_platform.cli import reference
from runner_platform.cli.main import app
from runner_platform_sandbox import commands


def test_the_pages_say_what_the_code_says() -> None:
    assert reference.outdated() == [], f"run: {reference.RENEW}"


def test_every_key_of_a_class_has_its_default() -> None:
    rows = {key.strip("`"): default.strip("`") for key, default, _ in reference.keys_of(Runner, "")}
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


def test_every_command_that_help_shows_is_on_the_page() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    page = "\n".join(reference.commands())
    for name, command in group.commands.items():
        assert (f"## runner-platform {name}" in page) is (not command.hidden and name != "sandbox")


def test_commands_of_another_distribution_are_left_to_its_own_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "registered_groups", [*app.registered_groups])
    app.add_typer(commands.app, name="sandbox")
    assert "## runner-platform sandbox" not in "\n".join(reference.commands())


def test_a_key_without_a_description_is_refused() -> None:
    class Undescribed(Section):
        key: str

    with pytest.raises(TypeError, match="key has no docstring"):
        list(reference.keys_of(Undescribed, ""))
