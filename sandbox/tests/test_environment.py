"""What a shell gets to use the sandbox: everything it needs, nothing of the person's own."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from runner_platform.cli import main
from runner_platform_sandbox import environment, organization, ports, state
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.organization import PROJECT, Organization
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.processes import ProcessId

if TYPE_CHECKING:
    from pathlib import Path

MEMBERS = Organization(
    id="o-1",
    region="eu-central-1",
    partition="aws",
    accounts={"admin": "111111111111", "cicd": "222222222222"},
)


class NoTools:
    @classmethod
    def find(cls, _: Paths) -> NoTools:
        return cls()

    def path_folders(self) -> list[Path]:
        return []


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setattr(environment, "Tools", NoTools)
    return Paths(cache=tmp_path / "cache", root=tmp_path / "a sandbox's root")


def running(**clusters: str) -> state.State:
    mine = ProcessId.mine()
    found = [
        state.ClusterState(
            account="222222222222",
            region="eu-central-1",
            name=name.replace("_", "-"),
            issuer_id=name,
            status=status,
            endpoint="https://127.0.0.1:1",
            certificate_authority="Q0E=",
        )
        for name, status in clusters.items()
    ]
    supervisor = state.Process(name="supervisor", pid=mine.pid, started=mine.started)
    return state.State(run_id="0a1b", ports=ports.choose(), supervisor=supervisor, ready=True, clusters=found)


def kubeconfig(paths: Paths) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(environment.kubeconfig_file(paths).read_text())
    return document


def test_nothing_is_printed_for_a_sandbox_that_does_not_run(paths: Paths) -> None:
    with pytest.raises(SandboxError, match="not running") as refusal:
        environment.variables(paths)
    assert "sandbox start" in refusal.value.remedy


def test_every_path_and_endpoint_leads_into_the_sandbox(paths: Paths) -> None:
    current = running()
    state.write(paths, current)
    found = environment.variables(paths)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_IAM"):
        assert found[name] == f"http://127.0.0.1:{current.ports.aws}"
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "PULUMI_HOME", "HELM_CACHE_HOME", "KUBECONFIG"):
        assert found[name].startswith(str(paths.root)), name
    assert found["PATH"].split(":")[0] == str(paths.bin), "the shim of aws comes first"
    assert found["RUNNER_PLATFORM_JOB_ENDPOINT"] == f"http://127.0.0.1:{current.ports.aws_jobs}", (
        "jobs have no root keys"
    )
    assert found["RUNNER_PLATFORM_SIGNING_KEYS"] == str(paths.clusters)
    assert found["RUNNER_PLATFORM_MACHINES"].endswith(" -m runner_platform_sandbox.machines.instance")


def test_a_second_eval_does_not_make_path_longer(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    state.write(paths, running())
    once = environment.variables(paths)["PATH"]
    monkeypatch.setenv("PATH", once)
    assert environment.variables(paths)["PATH"] == once


def test_a_posix_shell_reads_back_exactly_what_was_meant(tmp_path: Path) -> None:
    values = {"A": 'it\'s a "test" with $HOME and `x`', "B": f"{tmp_path}/a b", "C": "line\nbreak"}
    script = environment.shell(values) + 'printf "%s\\0" "$A" "$B" "$C" "${AWS_PROFILE-unset}"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, text=True, env={"AWS_PROFILE": "mine"})
    assert done.stdout.split("\0") == [*values.values(), "unset", ""]


def test_no_variable_of_a_real_cloud_stays_in_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = {
        **dict.fromkeys(("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"), "mine"),
        **dict.fromkeys(("AWS_ACCESS_KEY", "AWS_SECRET_KEY", "BOTO_CONFIG", "PULUMI_ACCESS_TOKEN"), "mine"),
        **dict.fromkeys(("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_CONTAINER_CREDENTIALS_FULL_URI"), "mine"),
        "AWS_ENDPOINT_URL_EKS": "https://eks.example",
        "AWS_USE_FIPS_ENDPOINT": "true",
    }
    for name, value in {**foreign, "AWS_PAGER": "less"}.items():
        monkeypatch.setenv(name, value)
    script = environment.shell({"AWS_CONFIG_FILE": str(tmp_path)}) + "env"
    done = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, check=True, text=True)
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert not names & set(foreign)
    assert {"AWS_CONFIG_FILE", "AWS_PAGER"} <= names


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe[", b"region = us-east-1\n", b"[a]\n[a]\nregion=us-east-1"])
def test_an_edited_aws_config_does_not_end_the_command(paths: Paths, content: bytes | None) -> None:
    state.write(paths, running())
    if content is not None:
        environment.aws_config_file(paths).parent.mkdir(parents=True, exist_ok=True)
        environment.aws_config_file(paths).write_bytes(content)
    region = "us-east-1" if content and b"region" in content else "eu-central-1"
    assert environment.variables(paths)["AWS_REGION"] == region


def test_the_engine_inherits_nothing_that_belongs_to_a_real_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "PULUMI_ACCESS_TOKEN", "KUBECONFIG", "PYTHONPATH", "GITLAB_TOKEN"):
        monkeypatch.setenv(name, "mine")
    monkeypatch.setenv("LANG", "C.UTF-8")
    found = environment.inherited()
    assert "mine" not in found.values()
    assert found["LANG"] == "C.UTF-8"


def test_the_shim_runs_the_aws_cli_with_the_sandboxs_home(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    real = paths.cache / "someones aws" / "aws"
    real.parent.mkdir(parents=True)
    real.write_text('#!/bin/sh\nprintf "%s|%s" "$HOME" "$*"\n')
    real.chmod(0o755)
    monkeypatch.setenv("PATH", f"{paths.bin}:{real.parent}:/usr/bin:/bin")
    environment.install(paths, running(), MEMBERS)
    done = subprocess.run([str(paths.bin / "aws"), "s3", "ls"], capture_output=True, check=True, text=True)
    assert done.stdout == f"{paths.home}|s3 ls"


def test_kubectl_gets_a_context_for_each_cluster_that_is_up(paths: Paths) -> None:
    environment.write_kubeconfig(paths, running(runner_platform="ACTIVE", other="CREATING"), MEMBERS)
    found = kubeconfig(paths)
    assert [context["name"] for context in found["contexts"]] == ["runner-platform"]
    assert found["current-context"] == "runner-platform"
    command = found["users"][0]["user"]["exec"]
    assert command["command"] == str(paths.bin / "aws")
    assert command["args"][-3:-1] == ["platform-cicd", "--output"]


def test_the_context_that_a_person_chose_stays_chosen(paths: Paths) -> None:
    both = running(one="ACTIVE", two="ACTIVE")
    environment.write_kubeconfig(paths, both, MEMBERS)
    file = environment.kubeconfig_file(paths)
    file.write_text("apiVersion: v1\nkind: Config\ncurrent-context: two\n")  # as kubectl writes it
    environment.write_kubeconfig(paths, both, MEMBERS)
    assert kubeconfig(paths)["current-context"] == "two"
    environment.write_kubeconfig(paths, running(one="ACTIVE"), MEMBERS)
    assert kubeconfig(paths)["current-context"] == "one", "a context that is gone cannot stay chosen"


def test_profiles_chain_from_the_management_account_to_the_deployer() -> None:
    parser = configparser.ConfigParser()
    parser.read_string(environment.aws_config(MEMBERS, "0a1b"))
    platform = parser["profile platform-cicd"]
    assert platform["role_arn"] == "arn:aws:iam::222222222222:role/cicd-platform/platform-deployer"
    assert platform["source_profile"] == "operator"
    assert parser["profile operator"]["role_arn"] == "arn:aws:iam::111111111111:role/platform-operator"
    assert parser["profile foundation-cicd"]["role_arn"].endswith(":role/OrganizationAccountAccessRole")
    assert all("0a1b" in section.get("role_session_name", "0a1b") for section in parser.values()), (
        "the AWS CLI caches sessions by role: without the run id one of an earlier sandbox would be used"
    )
    assert all("region" in section for name, section in parser.items() if name != "DEFAULT"), "CLI v1 needs it"


def test_the_platforms_profiles_are_those_that_runner_platform_prints(capsys: pytest.CaptureFixture[str]) -> None:
    found = environment.aws_config(organization.read(), "0a1b2c3d").replace("-0a1b2c3d", "")
    for arguments in (["deployer", "--source-profile", "operator"], ["foundation"]):
        main.app(["profiles", "--platform", *arguments], standalone_mode=False)
        printed = capsys.readouterr().out
        assert printed.count("[profile ") == len(organization.read().accounts)
        assert f"\n{printed}" in f"{found}\n", "a profile that only the sandbox has proves nothing about the product's"


def test_a_session_name_keeps_to_the_limit_of_sts_and_to_its_sandbox() -> None:
    names = re.findall(r"role_session_name = (.*)", environment.aws_config(MEMBERS, "0a1b2c3d"))
    assert all(len(name) <= 64 for name in names)
    assert environment.session_name("x" * 100, "0a1b") == "x" * 59 + "-0a1b"


def test_printing_the_environment_imports_neither_documents_nor_sdks() -> None:
    script = "import sys; from runner_platform_sandbox import environment; print({'components', 'boto3', 'pulumi'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert done.stdout.strip() == "set()", "`sandbox env` is evaluated by every new shell; it must be fast"


def test_the_organisation_is_that_of_the_committed_stack_file() -> None:
    found = organization.read()
    assert set(found.accounts) == {"admin", "cicd", "dev", "prod"}
    assert found.home == "admin"
    assert found.name_of("222222222222") == "cicd"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("config: [", "not YAML"),
        ("config: {}", "organization is missing"),
        (
            (
                "config: {'runner-platform-foundation:organization': {id: o-1, region: r}, "
                "'runner-platform-foundation:accounts': {dev: {id: 12}}}"
            ),
            "accounts.dev.id must be a quoted string",
        ),
        (
            (
                "config: {'runner-platform-foundation:organization': {id: o-1}, "
                "'runner-platform-foundation:accounts': {dev: {id: '1'}}}"
            ),
            "organization.region is missing",
        ),
    ],
)
def test_a_stack_file_that_cannot_be_understood_is_named_with_the_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "foundation").mkdir()
    (tmp_path / "foundation" / "Pulumi.foundation.yaml").write_text(text)
    with pytest.raises(SandboxError, match=message):
        organization.read(tmp_path)
