"""The pages for people who come from other runners agree with the command and with the settings."""

from __future__ import annotations

import re

import pytest
import yaml

from config import load
from runner_platform.import_config import text
from runner_platform.import_config.answers import find
from runner_platform.import_config.imported import ANSWERS, imported
from runner_platform.import_config.machine_options import OPTIONS
from runner_platform.import_config.reading import read
from tests.runner_platform.import_config.whole_files import KEYS
from tests.support.program import complaints, raw

USE = load.ROOT / "docs" / "use"
DOCKER_MACHINE = (USE / "from-docker-machine.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", ["from-docker-machine.md", "from-prosiebensat1.md", "from-cattle-ops.md"])
def test_the_settings_reader_takes_the_classes_of_a_page(name: str) -> None:
    page = (USE / name).read_text()
    assert blocks(page, "sh")[0].endswith("| runner-platform import -\n")
    (block,) = blocks(page, "yaml")
    classes = yaml.safe_load(block)["config"]["runner-platform:runners"]
    problems = complaints(raw("dev", runners={**classes, "other": raw("dev")["runners"]["small"]}))
    assert [path for path in problems if path.startswith("runners")] == []


def test_the_example_of_docker_machine_is_what_the_command_prints() -> None:
    printed = yaml.safe_load(text.stack_file(imported(read(blocks(DOCKER_MACHINE, "toml")[0]))))
    assert yaml.safe_load(blocks(DOCKER_MACHINE, "yaml")[0])["config"] == printed


def test_the_page_of_docker_machine_lists_every_option_and_key() -> None:
    listed = set(re.findall(r"`(?:\[\[)?([\w.-]+)(?:\]\])?`", DOCKER_MACHINE))
    keys = {name for name in KEYS["runners"]["keys"]["machine"]["keys"] if name != "MachineOptionsWithName"}
    assert keys - {"autoscaling"} <= listed
    assert "runners.machine.autoscaling" in listed
    options = {option for option in OPTIONS if option.startswith("amazonec2-")}
    assert {name for name in listed if name.startswith("amazonec2-")} == options


def test_keys_of_the_runner_that_a_page_names_have_an_answer() -> None:
    page = (USE / "from-prosiebensat1.md").read_text()
    for key in (
        "max_instances",
        "capacity_per_instance",
        "max_use_count",
        "plugin",
        "plugin_config",
        "connector_config",
    ):
        assert f"`{key}`" in page
        assert find(f"runners.autoscaler.{key}", ANSWERS)[0] == f"runners.autoscaler.{key}"
