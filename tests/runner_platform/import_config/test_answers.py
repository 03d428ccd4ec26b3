"""Every key of a runner's configuration is answered, and no secret of it is printed."""

from __future__ import annotations

import json
import re

import pytest

from runner_platform.import_config import machine_options, text
from runner_platform.import_config.answers import Kind, find
from runner_platform.import_config.imported import ANSWERS, SHOWN, SHOWN_OPTIONS, imported
from runner_platform.import_config.reading import read
from tests.runner_platform.import_config.whole_files import EXECUTORS, all_keys, whole_file

MIN_WORDS, MAX_WORDS = 3, 40
SECRET_WORDS = (
    "password",
    "secret",
    "accesskey",
    "access-key",
    "privatekey",
    "key_path",
    "environment",
    "script",
    "header",
)
TABLES_WITH_ONE_ANSWER = {
    *(
        "session_server",
        "machine",
        "experimental",
        "runners.experimental",
        "runners.custom_build_dir",
        "runners.artifact",
        "runners.monitoring",
    ),
    *(
        "runners.custom",
        "runners.ssh",
        "runners.parallels",
        "runners.virtualbox",
        "runners.instance",
        "runners.cache.s3",
        "runners.cache.gcs",
    ),
    *(
        "runners.cache.azure",
        "runners.docker.services",
        "runners.machine.autoscaling",
        "runners.autoscaler.connector_config",
    ),
    *(
        "runners.autoscaler.policy",
        "runners.autoscaler.scale_throttle",
        "runners.autoscaler.vm_isolation",
        "runners.autoscaler.state_storage",
    ),
    *(
        "runners.kubernetes.affinity",
        "runners.kubernetes.volumes",
        "runners.kubernetes.services",
        "runners.kubernetes.dns_config",
    ),
    *("runners.kubernetes.container_lifecycle", "runners.kubernetes.pod_spec", "runners.kubernetes.autoscaler"),
    *("runners.kubernetes.pod_security_context", "runners.kubernetes.init_permissions_container_security_context"),
    *("runners.kubernetes.build_container_security_context", "runners.kubernetes.helper_container_security_context"),
    "runners.kubernetes.service_container_security_context",
}
"""Tables whose keys share an answer; a new key in any other table needs one of its own."""


def test_every_key_of_the_runner_has_an_answer() -> None:
    keys = [key for key, _ in all_keys()]
    assert len(keys) > 600
    answered = {key: find(key.casefold(), ANSWERS) for key in keys}
    unknown = [key for key, (_, answer) in answered.items() if answer.kind is Kind.UNUSED]
    assert not unknown, "write an answer in runner_platform/import_config"
    shared = {table for key, (table, _) in answered.items() if table != key.casefold()}
    assert shared == TABLES_WITH_ONE_ANSWER


def test_every_answer_is_of_a_key_that_a_runner_has_or_had() -> None:
    keys = {key.casefold() for key, _ in all_keys()}
    prefixes = {key[:end] for key in keys for end in range(len(key)) if key[end] == "."}
    old = {"runners.pre_clone_script", "runners.post_clone_script"} | {
        f"runners.cache.{key}"
        for key in ("serveraddress", "accesskey", "secretkey", "bucketname", "bucketlocation", "insecure")
    }
    assert set(ANSWERS) - keys - prefixes == old


def test_an_answer_says_a_reason_in_a_sentence_or_two() -> None:
    texts = {answer.text for answer in (*ANSWERS.values(), *machine_options.OPTIONS.values())}
    assert not [text for text in texts if not MIN_WORDS <= len(text.split()) <= MAX_WORDS or "\n" in text]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_each_key_of_a_whole_file_is_a_row_or_a_setting(executor: str) -> None:
    config = read(whole_file(executor, lambda key: f"text of {key}"))
    result = imported(config)
    rows = [*result.rows, *result.runners[0].rows]
    keys = [row.key.partition(" ")[0].replace("[0]", "").casefold() for row in rows]
    entries = [*config.entries, *config.runners[0].entries]
    missing = [entry.key for entry in entries if not any(f"{entry.key}.".startswith(f"{key}.") for key in keys)]
    assert not missing
    assert all(row.answer for row in rows)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_texts_that_may_be_secrets_are_never_printed(executor: str) -> None:
    keys = [key.casefold() for key, _ in all_keys()]
    result = imported(read(whole_file(executor, lambda key: f"q{keys.index(key.casefold())}q")))
    printed = json.dumps(text.document(result)) + text.stack_file(result)
    assert {keys[int(number)] for number in re.findall(r"q(\d+)q", printed)} <= SHOWN


def test_no_key_whose_name_sounds_secret_may_be_printed() -> None:
    assert not [key for key in SHOWN | SHOWN_OPTIONS if any(word in key for word in SECRET_WORDS)]
    assert {key for key in SHOWN | SHOWN_OPTIONS if "token" in key} == {
        "amazonec2-metadata-token",
        "amazonec2-metadata-token-response-hop-limit",
    }


def test_only_keys_that_exist_may_be_printed() -> None:
    assert {key.casefold() for key, _ in all_keys()} | {
        f"runners.kubernetes.node_selector.{label}"
        for label in ("kubernetes.io/arch", "karpenter.sh/capacity-type", "eks.amazonaws.com/capacitytype")
    } >= SHOWN
    assert set(machine_options.OPTIONS) >= SHOWN_OPTIONS


@pytest.mark.parametrize(
    "value",
    [
        "glrt-abcdefghij1234567890",
        "AKIAIOSFODNN7EXAMPLE",
        "https://user:pass@git.example.com",
        "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5",
    ],
)
def test_a_secret_in_a_key_that_is_printed_is_hidden(value: str) -> None:
    file = f"[[runners]]\nname = {value!r}\nexecutor = 'docker'\nurl = {value!r}\n[runners.docker]\nimage = {value!r}\nvolumes = [{value!r}]"
    result = imported(read(file))
    printed = json.dumps(text.document(result)) + text.stack_file(result)
    assert value not in printed
    assert "user:pass" not in printed


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("amazonec2-secret-key=hunter2", "MachineOptions amazonec2-secret-key"),
        ("--amazonec2-access-key=hunter2", "MachineOptions amazonec2-access-key"),
        ("hunter2", "MachineOptions (no option)"),
        ("some thing=hunter2", "MachineOptions (no option)"),
        ("engine-env=PASSWORD=hunter2", "MachineOptions engine-env"),
        ("amazonec2-new-option=hunter2", "MachineOptions amazonec2-new-option"),
        ("azure-client-secret=hunter2", "MachineOptions azure-client-secret"),
    ],
)
def test_an_option_of_a_machine_never_shows_a_secret(option: str, key: str) -> None:
    file = f"[[runners]]\nexecutor = 'docker+machine'\n[runners.machine]\nMachineOptions = [{option!r}]"
    result = imported(read(file))
    assert "hunter2" not in json.dumps(text.document(result)) + text.stack_file(result)
    assert [row.key for row in result.runners[0].rows if "MachineOptions" in row.key] == [f"runners.machine.{key}"]


@pytest.mark.parametrize(
    ("line", "kind", "part"),
    [
        ("privileged = true", Kind.NONE, "builder: plain"),
        ("privileged = false", Kind.BUILT_IN, "off, as here"),
        ("priviledged = true", Kind.UNUSED, "did you mean privileged?"),
        ("Privileged = true", Kind.NONE, "builder: plain"),
        ("something = true", Kind.UNUSED, "drop it"),
        ("pull_policy = ['if-not-present']", Kind.BUILT_IN, "each job pulls"),
    ],
)
def test_a_key_of_docker_is_answered(line: str, kind: Kind, part: str) -> None:
    rows = imported(read(f"[[runners]]\nexecutor = 'docker'\n[runners.docker]\n{line}")).runners[0].rows
    (row,) = [row for row in rows if row.key.startswith("runners.docker")]
    assert row.kind is kind
    assert part in row.answer


@pytest.mark.parametrize(
    ("line", "part"), [("MaxBuilds = 0", "every instance ends after `uses` jobs"), ("IdleCount = 0", "off, as here")]
)
def test_a_zero_that_has_a_meaning_is_not_simply_off(line: str, part: str) -> None:
    rows = imported(read(f"[[runners]]\nexecutor = 'docker+machine'\n[runners.machine]\n{line}")).runners[0].rows
    assert part in rows[-1].answer


def test_a_table_of_another_executor_is_one_row() -> None:
    rows = (
        imported(read("[[runners]]\nexecutor = 'docker'\n[runners.kubernetes]\nhost = ''\nnamespace = 'x'"))
        .runners[0]
        .rows
    )
    assert [(row.key, row.value, row.kind) for row in rows[1:]] == [("runners.kubernetes", "2 keys", Kind.UNUSED)]
    assert rows[1].answer == "belongs to executor kubernetes; this runner is docker and does not use it"


@pytest.mark.parametrize(
    ("executor", "line", "kind"),
    [
        ("docker+machine", "machine = {MachineDriver = 'amazonec2'}", Kind.BUILT_IN),
        ("docker+machine", "machine = {MachineDriver = 'google'}", Kind.NONE),
        ("docker-autoscaler", "autoscaler = {plugin = 'aws:1.1'}", Kind.BUILT_IN),
        ("docker-autoscaler", "autoscaler = {plugin = 'fleeting-plugin-aws'}", Kind.BUILT_IN),
        ("docker-autoscaler", "autoscaler = {plugin = 'googlecloud:latest'}", Kind.NONE),
    ],
)
def test_another_cloud_has_no_counterpart(executor: str, line: str, kind: Kind) -> None:
    rows = imported(read(f"[[runners]]\nexecutor = '{executor}'\n{line}")).runners[0].rows
    assert [row.kind for row in rows if "river" in row.key or "plugin" in row.key] == [kind]


@pytest.mark.parametrize(
    ("line", "value"), [("token = 12345678", "set"), ("secretKey = 1.5", "set"), ("limit = 7", "7")]
)
def test_a_number_is_printed_unless_its_key_sounds_secret(line: str, value: str) -> None:
    rows = imported(read(f"[[runners]]\nexecutor = 'docker'\n{line}")).runners[0].rows
    assert [row.value for row in rows if "executor" not in row.key] == [value]


def test_control_characters_of_a_key_do_not_reach_the_terminal() -> None:
    rows = imported(read('[[runners]]\nexecutor = "docker"\n"a\\u001b[31mb" = 1')).runners[0].rows
    assert rows[-1].key == "runners.a [31mb"
