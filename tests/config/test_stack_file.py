"""A stack file means to this program what it means to the engine, or it is refused, without repeating a secret."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from config import foundation, load, stack_file
from config.errors import SettingsError
from tests.support.yaml_answers import FILES_READ_ALIKE, FILES_REFUSED, READ_ALIKE, READ_DIFFERENTLY

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = "runner-platform"
NAME = "Pulumi.dev.yaml"
DEV = (load.ROOT / NAME).read_text()
TOKEN = "Zx9Qw8Er7Ty6Ui5Op4As"


def value_of(text: str) -> Any:
    file = stack_file.parse(f"config:\n  {PROJECT}:a:\n   x: {text}\n", NAME, PROJECT)
    if file.problems:
        raise SettingsError(NAME, file.problems)
    return file.values["a"]["x"]


def complaint(folder: Path, content: str | bytes, stack: str = "dev") -> str:
    """The message about a file, or nothing."""
    load.of_stack.cache_clear()
    (folder / f"Pulumi.{stack}.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    try:
        load.of_stack(stack)
    except SettingsError as error:
        return str(error)
    finally:
        load.of_stack.cache_clear()
    return ""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(load, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("text", "answer"), READ_ALIKE.items())
def test_a_value_that_all_read_alike_is_the_engine_s(text: str, answer: Any) -> None:
    value = value_of(text)
    assert (value, type(value)) == (answer, type(answer))


@pytest.mark.parametrize("text", READ_DIFFERENTLY)
def test_a_value_that_readers_take_differently_is_refused_with_its_path(text: str) -> None:
    with pytest.raises(SettingsError, match=r"- (a\.x|file)"):
        value_of(text)


@pytest.mark.parametrize("content", FILES_READ_ALIKE.values(), ids=FILES_READ_ALIKE)
def test_a_file_that_the_engine_reads_is_read(folder: Path, content: bytes) -> None:
    (folder / NAME).write_bytes(content)
    assert load.raw_of(folder / NAME, PROJECT) == {"a": {"x": 1}}


@pytest.mark.parametrize(("content", "words"), FILES_REFUSED.values(), ids=FILES_REFUSED)
def test_a_file_that_readers_take_differently_is_refused(folder: Path, content: bytes, words: str) -> None:
    message = complaint(folder, content)
    assert words in message
    assert len(message) < 3000, "a message is for reading"


def test_what_is_not_a_file_is_refused(folder: Path) -> None:
    (folder / NAME).mkdir()
    os.mkfifo(folder / "Pulumi.pipe.yaml")
    for name in (NAME, "Pulumi.pipe.yaml"):
        with pytest.raises(SettingsError, match="is not a file; move away what has its name"):
            load.raw_of(folder / name, PROJECT)


def test_a_stack_s_name_is_the_whole_middle_of_its_file_s(folder: Path) -> None:
    for name in (NAME, "Pulumi.dev.local.yaml"):
        (folder / name).touch()
    assert load.stacks() == ["dev", "dev.local"], "the engine takes Pulumi.dev.local.yaml for another stack"


def test_mistakes_of_yaml_and_of_settings_are_reported_together(folder: Path) -> None:
    text = DEV.replace("protect: false", "protect: no").replace("concurrent: 4", "concurrent: 010")
    text = text.replace("    dev: {id", '    dev: {id: "555555555555"}\n    dev: {id').replace(
        "nat: single", "nat: ten"
    )
    message = complaint(folder, text.replace("spot: true", "token_created: 2026-11-21"))
    assert "Pulumi.dev.yaml has 5 problems" in message, "and none of them twice"
    for words in (
        "platform.protect: 'no' does not fit: write true or false, without quotes",
        "runners.small.concurrent: 010 is a number that readers take differently",
        "accounts.dev: is written twice, in lines 7 and 8, which the engine refuses; keep one",
        "network.nat: 'ten' does not fit: write one of 'single', 'per-zone' or 'none'",
        "runners.small.token_created: 2026-11-21 is a date, which readers take differently; write it in quotes",
    ):
        assert words in message


def test_names_that_older_yaml_takes_for_booleans_stay_names(folder: Path) -> None:
    text = DEV.replace("    dev: {id", '    no: {id: "555555555555"}\n    dev: {id').replace("    big: {", "    on: {")
    assert complaint(folder, text) == ""
    settings = load.of_stack("dev")
    assert ("no" in settings.accounts, "on" in settings.runners) == (True, True)


def test_classes_and_accounts_come_sorted_by_name_as_from_the_engine() -> None:
    for stack in load.stacks():
        settings = load.of_stack(stack)
        assert [*settings.runners] == sorted(settings.runners), "the program rolls classes in this order"
        assert [*settings.accounts] == sorted(settings.accounts)


def test_a_name_that_no_terminal_shows_is_escaped(folder: Path) -> None:
    message = complaint(folder, DEV.replace("    dev: {id", '    "\\e[31m\\ud800": {id'))
    assert r"accounts.\x1b[31m\ud800: is not a name for an account" in message
    assert message.isascii()


@pytest.mark.parametrize("date", ["2026-02-30", "0000-01-01", "2026-13-01", "9999-99-99"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_date_that_no_calendar_has_is_refused(folder: Path, date: str, quote: str) -> None:
    message = complaint(folder, DEV.replace("spot: true", f"token_created: {quote}{date}{quote}"))
    assert f"runners.small.token_created: {date if not quote else repr(date)} is " in message


SECRETS = {
    "in the number of a generation": (
        "spot: true",
        f"token: glrt-{TOKEN}",
        "runners.small.token: holds a GitLab token",
    ),
    "with a prefix of its own": (
        "spot: true",
        f"token: acme{TOKEN}",
        "runners.small.token: is not the number of a gene",
    ),
    "in a list": ("spot: true", f"token: [acme{TOKEN}]", "runners.small.token: is not the number of a generation"),
    "as a tag": (
        "\nenc",
        f"\n  tags: {{owner: glpat-{TOKEN}}}\nenc",
        "tags.owner: holds a GitLab token in clear (line 27)",
    ),
    "as a key": ("\nenc", f"\n  tags: {{glpat-{TOKEN}: a}}\nenc", "holds a GitLab token"),
    "as an unknown key": ("\nenc", f"\n  password: glpat-{TOKEN}\nenc", "password: holds a GitLab token"),
    "for a class": (
        "\nenc",
        f"\n  tokens: {{small: glrt-{TOKEN}}}\nenc",
        "tokens.small: holds a GitLab token in clear",
    ),
    "for a class, any": (
        "\nenc",
        f"\n  tokens: {{small: {TOKEN}}}\nenc",
        "tokens.small: is not encrypted; take it out",
    ),
    "for all classes": ("\nenc", f"\n  tokens: {TOKEN}\nenc", "tokens.<class>: is not encrypted"),
    "in a comment": ("\nenc", f"\n  # glrt-{TOKEN}\nenc", "line 27: holds a GitLab token in a comment"),
    "beside a mistake": ("spot: true", f"token: glrt-{TOKEN}]", "is not YAML"),
    "of another namespace": (
        "\nenc",
        f"\n  gitlab:token: glpat-{TOKEN}\nenc",
        "config.gitlab:token: holds a GitLab token",
    ),
    "of the file": ("\nenc", f"\ngitlab: glpat-{TOKEN}\nenc", "gitlab: holds a GitLab token"),
    "in a URL": ("//gitlab.com", f"//me:{TOKEN}@gitlab.com", "gitlab.url: holds a password in a URL"),
    "of AWS": ("eu-central-1", "AKIAIOSFODNN7EXAMPLE", "organization.region: holds an AWS access key"),
    "without a form": ("eu-central-1", f"{TOKEN}{TOKEN}", "organization.region: '<hidden>' is not a region"),
    "a private key": (
        "\nenc",
        f'\n  tags: {{owner: "-----BEGIN RSA PRIVATE KEY----- {TOKEN}"}}\nenc',
        "a private key in",
    ),
}
"""What is replaced in dev's file, by what, and words of the message."""


@pytest.mark.parametrize(("old", "new", "words"), SECRETS.values(), ids=SECRETS)
def test_a_secret_in_clear_is_refused_and_not_repeated(folder: Path, old: str, new: str, words: str) -> None:
    message = complaint(folder, DEV.replace(old, new, 1))
    assert words in message
    assert TOKEN not in message
    assert "IOSFODNN7" not in message


def test_an_encrypted_value_is_refused_where_the_program_reads_none(folder: Path) -> None:
    text = DEV.replace('"https://gitlab.com"', "{secure: v1:abc}")
    assert "gitlab.url: is encrypted, and the program reads no secret here" in complaint(folder, text)
    text = DEV.replace("\nenc", "\n  tokens: {smal: {secure: v1:abc}}\nenc")
    assert "tokens.smal: is not a class; did you mean 'small'?" in complaint(folder, text)
    for tokens in ("{small: {secure: v1:abc}}", "{secure: v1:abc}"):
        assert complaint(folder, DEV.replace("\nenc", f"\n  tokens: {tokens}\nenc")) == ""


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("\nenc", f"\n  tags: {{owner: {'a' * 10_000}}}\nenc", "tags.owner: 'aaa"),
        ("\nenc", f"\n  tags: {{owner: {'a b ' * 2_500}}}\nenc", "tags.owner: 'a b"),
        ("dev: {id", f"{'a' * 900}: {{id", "accounts.aaa"),
        ("eu-central-1", "a" * 50_000, "organization.region: 'aaa"),
        (
            '{repository: "https://charts.gitlab.io", version: 0.93.0}',
            f"{{path: {'a' * 9_000}.tgz}}",
            "chart.path: 'aaa",
        ),
    ],
)
def test_a_long_value_is_refused_with_a_short_message(folder: Path, old: str, new: str, path: str) -> None:
    message = complaint(folder, DEV.replace(old, new, 1))
    assert path in message
    assert len(message) < 1500


def test_the_foundation_s_file_is_read_alike(folder: Path) -> None:
    (folder / "foundation").mkdir()
    text = "config:\n  organization: !!omap {id: 010}\n  runner-platform:tags: {owner: a}\n"
    (folder / load.FOUNDATION_FILE).write_text(text)
    load.of_foundation.cache_clear()
    with pytest.raises(SettingsError) as caught:
        load.of_foundation()
    load.of_foundation.cache_clear()
    paths = {problem.path for problem in caught.value.problems}
    assert {"organization", "organization.id", "config.runner-platform:tags", "accounts", "gitlab"} <= paths
    assert f"write {foundation.PROJECT}:tags" in str(caught.value)
