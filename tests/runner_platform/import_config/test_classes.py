"""The class of a runner has the values of its file; what the file does not say is assumed and said so."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runner_platform.import_config import text
from runner_platform.import_config.classes import docker_mib
from runner_platform.import_config.imported import ImportedRunner, imported
from runner_platform.import_config.reading import UnreadableConfigError, read
from tests.runner_platform.import_config.whole_files import EXECUTORS, whole_file
from tests.support.generated_cases import QUICK
from tests.support.program import complaints, parsed, raw

COMMON = {"level": "open", "longest_job": "1h"}
MACHINE = {"executor": "docker-autoscaler", "max_instances": 1, **COMMON}


def of(file: str) -> ImportedRunner:
    (runner,) = imported(read(file)).runners
    return runner


def settings_of(file: str) -> dict[str, Any]:
    runner_class = of(file).runner_class
    assert runner_class is not None
    return runner_class.settings


def machine(*options: str, keys: str = "") -> dict[str, Any]:
    return settings_of(
        f"[[runners]]\nexecutor = 'docker+machine'\n[runners.machine]\n{keys}\nMachineOptions = {list(options)}"
    )


@pytest.mark.parametrize(
    ("options", "keys", "settings"),
    [
        (["amazonec2-instance-type=m5.large"], "", {"instances": {"types": ["m5.large"]}, "uses": 1, "disk": "50Gi"}),
        (
            ["amazonec2-instance-type=m5.large", "amazonec2-instance-type=m5a.large"],
            "",
            {"instances": {"types": ["m5.large", "m5a.large"]}},
        ),
        (
            ["amazonec2-instance-type=m5.large", "amazonec2-instance-type=m6g.large"],
            "",
            {"instances": {"types": ["m5.large"]}},
        ),
        (["amazonec2-instance-type=t2.micro"], "", {"instances": {"types": ["m7i.large"]}}),
        (["amazonec2-instance-type=p3.2xlarge"], "", {"instances": {"types": ["m7i.large"]}}),
        ([], "", {"instances": {"types": ["m7i.large"]}}),
        (["amazonec2-root-size=100"], "", {"disk": "100Gi"}),
        (["amazonec2-root-size=8"], "", {"disk": "20Gi"}),
        (["amazonec2-request-spot-instance=true"], "", {"spot": True}),
        (["amazonec2-request-spot-instance"], "", {"spot": True}),
        (["amazonec2-request-spot-instance=false"], "", {"spot": None}),
        ([], "MaxBuilds = 20", {"uses": 20}),
        ([], "maxbuilds = 5000", {"uses": 1000}),
        ([], "MaxBuilds = 0", {"uses": 1}),
    ],
)
def test_options_of_docker_machine_become_settings(options: list[str], keys: str, settings: dict[str, Any]) -> None:
    result = machine(*options, keys=keys)
    assert {key: result.get(key) for key in settings} == settings
    assert MACHINE.items() <= result.items()


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        (
            "concurrent = 8\n[[runners]]\nexecutor = 'docker'",
            {"executor": "docker", "concurrent": 8, "instance": "t3.2xlarge"},
        ),
        ("concurrent = 8\n[[runners]]\nexecutor = 'docker'\nlimit = 2", {"concurrent": 2, "instance": "t3.large"}),
        ("[[runners]]\nexecutor = 'docker'", {"concurrent": 1, "instance": "t3.medium"}),
        ("[[runners]]\nexecutor = 'docker'\nlimit = 900", {"concurrent": 100, "instance": "m7i.16xlarge"}),
        ("[[runners]]\nexecutor = 'docker'\n[runners.docker]\nmemory = '10g'", {"instance": "t3.xlarge"}),
        ("[[runners]]\nexecutor = 'docker'\n[runners.docker]\nmemory = '13g'", {"instance": "t3.2xlarge"}),
        ("[[runners]]\nexecutor = 'docker'\n[runners.docker]\ncpus = '7.5'", {"instance": "t3.2xlarge"}),
        ("[[runners]]\nexecutor = 'docker'\n[runners.docker]\nmemory = '9000g'", {"instance": "m7i.48xlarge"}),
        ("[[runners]]\nexecutor = 'shell'", {"executor": "docker"}),
        (
            "concurrent = 9\n[[runners]]\nexecutor = 'docker-autoscaler'\n[runners.autoscaler]\ncapacity_per_instance = 4",
            {"executor": "docker-autoscaler", "max_instances": 3, "capacity": 4, "uses": 4},
        ),
        (
            "[[runners]]\nexecutor = 'instance'\n[runners.autoscaler]\nmax_instances = 5\nmax_use_count = 9",
            {"executor": "docker-autoscaler", "max_instances": 5, "capacity": None, "uses": 9},
        ),
        (
            "[[runners]]\nexecutor = 'custom'\nlimit = 3\n[runners.custom]\nrun_exec = '/opt/gitlab-runner/fargate'",
            {"executor": "fargate", "concurrent": 3, "cpu": "1", "memory": "2Gi"},
        ),
        (
            "[[runners]]\nexecutor = 'custom'\n[runners.custom]\nrun_exec = '/opt/driver'\nrun_args = ['--config', '/etc/Fargate.toml']",
            {"executor": "fargate"},
        ),
        (
            "[[runners]]\nexecutor = 'kubernetes'",
            {"executor": "kubernetes", "cpu": "1", "memory": "2Gi", "disk": "10Gi"},
        ),
        (
            (
                "[[runners]]\nexecutor = 'kubernetes'\n[runners.kubernetes]\ncpu_limit = '4'\ncpu_request = '500m'\nmemory_request = '1Gi'\n"
                "ephemeral_storage_limit = '30Gi'\nnode_selector = {'kubernetes.io/arch' = 'arm64', 'karpenter.sh/capacity-type' = 'spot'}"
            ),
            {"cpu": "500m", "memory": "1Gi", "disk": "30Gi", "arch": "arm64", "spot": True, "pod_security": None},
        ),
        (
            (
                "[[runners]]\nexecutor = 'kubernetes'\n[runners.kubernetes]\ncpu_request = '1m'\nmemory_limit = 'a lot'\n"
                "[runners.kubernetes.pod_security_context]\nrun_as_non_root = true"
            ),
            {"cpu": "1", "memory": "2Gi", "pod_security": "restricted"},
        ),
    ],
)
def test_a_runner_becomes_a_class(file: str, settings: dict[str, Any]) -> None:
    result = settings_of(file)
    assert {key: result.get(key) for key in settings} == settings
    assert COMMON.items() <= result.items()


def test_each_setting_says_where_it_comes_from() -> None:
    runner_class = of("[[runners]]\nexecutor = 'docker'\nlimit = 900").runner_class
    assert runner_class is not None
    assert runner_class.settings.keys() == runner_class.sources.keys() | runner_class.assumed.keys()
    assert runner_class.assumed["concurrent"] == "the most of one class; limit is 900, so make several classes"


@pytest.mark.parametrize(
    ("executor", "part"),
    [
        ("", "names no executor"),
        ("ssh", "by SSH"),
        ("parallels", "macOS"),
        ("virtualbox", "virtual machines"),
        ("docker-windows", "Windows"),
        ("custom", "programs of yours"),
        ("docker-ssh", "has removed this executor"),
        ("dokcer", "no executor 'dokcer'"),
    ],
)
def test_an_executor_without_class_says_why(executor: str, part: str) -> None:
    runner = of(f"[[runners]]\nexecutor = '{executor}'")
    assert runner.runner_class is None
    assert part in runner.reason
    assert runner.rows[0].answer == runner.reason


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["docker small"], ["dockersmall"]),
        (["aws-gitlab-runner-spawner"], ["runnerspawner"]),
        (["x"], ["imported"]),
        (["", ""], ["imported", "imported2"]),
        (["default", "platform"], ["imported", "imported2"]),
        (["42 builds"], ["builds"]),
        (["Straße"], ["strae"]),
        (["abcdefghijklmnopqrst", "abcdefghijklmnopqrst"], ["abcdefghijklmnop", "abcdefghijklmno2"]),
        (["glrt-abcdefghij1234567890"], ["imported"]),
    ],
)
def test_a_class_has_a_name_that_a_stack_file_takes(names: list[str], classes: list[str]) -> None:
    file = "\n".join(f"[[runners]]\nname = {name!r}\nexecutor = 'docker'" for name in names)
    assert [runner.runner_class.name for runner in imported(read(file)).runners if runner.runner_class] == classes


@pytest.mark.parametrize(
    ("size", "mib"),
    [("2g", 2048), ("512m", 512), ("1048576k", 1024), ("1073741824", 1024), ("2GB", 0), ("", 0), (7, 0)],
)
def test_a_size_of_docker_is_read(size: object, mib: int) -> None:
    assert docker_mib(size) == mib


def test_the_printed_stack_file_holds_the_classes() -> None:
    file = "".join(f"[[runners]]\nname = 'a # b'\nexecutor = '{executor}'\n" for executor in EXECUTORS)
    result = imported(read(file))
    classes = [runner.runner_class for runner in result.runners if runner.runner_class]
    assert len(classes) == 6
    assert yaml.safe_load(text.stack_file(result)) == {
        "runner-platform:runners": {runner_class.name: runner_class.settings for runner_class in classes}
    }
    assert text.stack_file(imported(read("[[runners]]\nexecutor = 'ssh'"))) == ""


def test_a_line_break_in_a_value_stays_within_its_comment() -> None:
    option = r"amazonec2-instance-type=x\nbuilder: plain"
    file = f'[[runners]]\nname = "a\\nb"\nexecutor = "docker+machine"\n[runners.machine]\nMachineOptions = ["{option}"]'
    result = imported(read(file))
    assert result.runners[0].runner_class is not None
    (settings,) = yaml.safe_load(text.stack_file(result))["runner-platform:runners"].values()
    assert settings == result.runners[0].runner_class.settings
    assert "builder" not in settings


@pytest.mark.parametrize(
    "body",
    [
        *(
            f"executor = '{executor}'"
            for executor in ("docker", "shell", "docker+machine", "docker-autoscaler", "instance", "kubernetes")
        ),
        *(f"executor = 'docker'\nlimit = {limit}" for limit in (2, 7, 25, 5000)),
        "executor = 'docker'\nlimit = 7\ndocker = {memory = '1m', cpus = '0.01'}",
        "executor = 'custom'\nlimit = 5000\ncustom = {run_exec = 'fargate'}",
        "executor = 'docker+machine'\nlimit = 5000\nmachine = {MachineOptions = ['amazonec2-instance-type=t2.nano']}",
        "executor = 'docker+machine'\nmachine = {MachineOptions = ['amazonec2-instance-type=t3.small', 'amazonec2-request-spot-instance']}",
        "executor = 'docker-autoscaler'\nautoscaler = {capacity_per_instance = 40, max_instances = 3}",
        "executor = 'docker-autoscaler'\nautoscaler = {capacity_per_instance = 400, max_use_count = 2, max_instances = 3000}",
        "executor = 'kubernetes'\nlimit = 3\nkubernetes = {memory_limit = '8Gi', pod_security_context = {run_as_non_root = true}}",
    ],
)
def test_the_settings_reader_takes_each_printed_class(body: str) -> None:
    printed = yaml.safe_load(text.stack_file(imported(read(f"[[runners]]\n{body}"))))["runner-platform:runners"]
    (name,) = printed
    # Beside a class of kubernetes, since the stack file of the test has a cluster.
    values = raw("dev", runners={**printed, "other": raw("dev")["runners"]["small"]})
    assert [path for path in complaints(values) if path.startswith("runners")] == []
    assert parsed(values).runners[name].executor == printed[name]["executor"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_settings_reader_takes_the_class_of_a_whole_file(executor: str) -> None:
    result = imported(read(whole_file(executor, lambda _: "text")))
    if result.runners[0].runner_class is not None:
        printed = yaml.safe_load(text.stack_file(result))["runner-platform:runners"]
        assert not [path for path in complaints(raw("dev", runners=printed)) if path.startswith("runners")]


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("[[runners]", "is not TOML"),
        ("concurrent = 1", "has no [[runners]]"),
        ("runners = []", "has no [[runners]]"),
        ("[runners]\nname = 'a'", "write [[runners]], with two brackets"),
        ("runners = ['a']", "write [[runners]], with two brackets"),
        ("runners = 1", "write [[runners]], with two brackets"),
    ],
)
def test_a_text_that_is_no_configuration_is_refused_with_the_reason(file: str, part: str) -> None:
    with pytest.raises(UnreadableConfigError) as error:
        read(file)
    assert part in str(error.value)


def test_keys_in_any_case_are_read_as_the_runner_reads_them() -> None:
    assert settings_of("Concurrent = 3\n[[Runners]]\nEXECUTOR = 'docker'\n") == settings_of(
        "concurrent = 3\n[[runners]]\nexecutor = 'docker'\n"
    )


@QUICK
@given(executor=st.sampled_from(EXECUTORS), values=st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_a_file_with_any_texts_is_answered(executor: str, values: list[str]) -> None:
    texts = iter(values * 1000)
    result = imported(read(whole_file(executor, lambda _: next(texts))))
    assert result.rows
    assert yaml.safe_load(text.stack_file(result)) is None or result.runners[0].runner_class is not None
