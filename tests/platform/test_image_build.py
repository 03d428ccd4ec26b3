"""The runner image: rendered, built without a daemon, and examined from the inside.

The Go programs come from the sandbox's cache, which has the same lock files and flags: compiling them again would take a quarter of an
hour, and an earlier build may replace the stage `go-tools`. All other stages are built as in the pipeline. While you write a test,
RUNNER_PLATFORM_TESTED_BUILDER may name a folder that keeps base image and layers between runs.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from components.documents.job_identity import pod_patch
from config import load
from config.names import AWS_CONFIG_MAP, namespace_jobs
from config.versions import RUNNER_IMAGE_TAG
from runner_platform import class_files, image_context
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.real_node.images import name_image
from runner_platform_sandbox.real_node.programs import obstacle
from runner_platform_sandbox.real_node.stack import running_nodes
from runner_platform_sandbox.tools.discovery import Tools
from tests.support import job_pods
from tests.support.class_settings import settings_of
from tests.support.image_builder import BASE, Builder, Container, mirrors
from tests.support.small_repository import git
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox
RUNNER = "localhost/runner"
MOUNT = pod_patch()["containers"][0]["volumeMounts"][0]["mountPath"]
NO_METADATA = {"AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    kept = os.environ.get("RUNNER_PLATFORM_TESTED_BUILDER")
    image_builder = Builder.find(Path(kept) if kept else tmp_path_factory.mktemp("builder"))
    if BASE not in image_builder.buildah("images", "--format", "{{.Name}}").split():
        image_builder.make_base()
    yield image_builder
    if not kept:
        image_builder.buildah("rm", "--all")
        image_builder.buildah("rmi", "--all", "--force")
        shutil.rmtree(image_builder.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    image_context.write(settings_of("prod"), folder)
    return folder


@pytest.fixture(scope="module")
def container(builder: Builder, context: Path) -> Container:
    """A container of the built image."""
    tools = builder.folder / "go-tools"
    for file in go_programs(Tools.find(Paths.from_environment())):
        target = tools / "out" / ("" if file.name == "probe-go" else "bin") / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    builder.build(
        context,
        "Containerfile",
        RUNNER,
        f"--build-context=go-tools={tools}",
        f"--layers={'RUNNER_PLATFORM_TESTED_BUILDER' in os.environ}".lower(),
        BASE_IMAGE=BASE,
        DEBIAN_PACKAGES=packages(builder, context),
        **mirrors(),
    )
    return builder.container(RUNNER)


def go_programs(tools: Tools) -> list[Path]:
    """Return the programs of the stage `go-tools` from the sandbox."""
    plugins = [file for file in tools.pulumi.parent.iterdir() if file.name.startswith("pulumi-") and file.is_file()]
    probe = next(folder / "probe-go" for folder in tools.path_folders() if (folder / "probe-go").exists())
    return [tools.tofu, tools.helm, tools.kubectl, tools.pulumi, *plugins, probe]


def packages(builder: Builder, context: Path) -> str:
    """Return `install` if the mirror has the packages of the lists, or `current` if Debian has published newer ones."""
    base = builder.container(BASE)
    try:
        mounts = [f"{context}:/context:ro"]
        for name in ("runner", "compiler"):
            command = ["/context/build/install-packages", "lock", f"/context/debian/{name}.txt"]
            if (
                base.output(*command, mounts=mounts, variables=mirrors())
                != (context / f"debian/{name}.txt").read_text()
            ):
                return "current"
        return "install"
    finally:
        base.remove()


def test_the_files_of_the_image_are_the_rendered_ones(container: Container, context: Path) -> None:
    for source, target in (("etc", "etc/runner-platform"), ("doctor", "usr/local/lib/runner-platform/image/doctor")):
        for file in sorted((context / source).rglob("*")):
            if file.is_file():
                baked = container.root / target / file.relative_to(context / source)
                assert baked.read_bytes() == file.read_bytes(), baked
                status = baked.stat()
                assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, 0, 0o644), "no job can change it"


def test_jobs_are_not_root_and_have_a_home(container: Container) -> None:
    assert container.output("id", "-u", "-n").split() == ["runner"]
    assert (
        container.output("sh", "-c", 'echo "$HOME" && touch "$HOME/x" && rm "$HOME/x" && pwd').split()
        == ["/home/runner"] * 2
    )
    assert container.run("touch", "/etc/runner-platform/aws/config").returncode != 0


def test_git_works_in_the_clone_of_the_helper_and_refuses_other_folders_of_root(container: Container) -> None:
    for folder in ("builds/shop/web", "srv/planted"):
        (container.root / folder).mkdir(parents=True)
        git(container.root / folder, "init", "-q")
    assert container.run("git", "-C", "/builds/shop/web", "status").returncode == 0
    assert container.run("git", "-C", "/srv/planted", "status").returncode != 0, "only /builds is the job's own volume"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("aws --version", "aws-cli/2."),
        ("git --version", "git version 2."),
        ("jq --version", "jq-1."),
        ("tofu version", "OpenTofu v1."),
        ("kubectl version --client", "Client Version: v1."),
        ("helm version --short", "v"),
        ("pulumi version", "v3."),
        ("/opt/runner-platform/bin/python -c 'import pulumi_aws, boto3; print(boto3.__version__)'", "1."),
    ],
)
def test_every_tool_of_the_image_runs(container: Container, command: str, expected: str) -> None:
    assert expected in container.output("sh", "-c", command)


def test_the_labels_describe_the_image(builder: Builder, container: Container) -> None:
    del container  # the image has to be built
    config = json.loads(builder.buildah("inspect", "--type", "image", RUNNER))["OCIv1"]["config"]
    assert config["User"] == "1000:1000", "a number, so that Kubernetes can check runAsNonRoot"
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == RUNNER_IMAGE_TAG
    assert labels["org.opencontainers.image.base.name"] == BASE
    assert labels["platform.stack"] == "prod"
    assert "AWS_CONFIG_FILE=/etc/runner-platform/aws/config" in config["Env"]


def test_the_bill_of_materials_names_all_installed_packages(container: Container) -> None:
    bill: dict[str, Any] = json.loads(container.output("cat", "/usr/share/sbom/runner-image.cdx.json"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    purls = {component["purl"] for component in bill["components"]}
    assert len(purls) == len(bill["components"]), "every package once"
    counted = container.output(
        "sh", "-c", "dpkg-query --show --showformat '${db:Status-Status}\\n' | grep -c '^installed$'"
    )
    assert sum(purl.startswith("pkg:deb/debian/") for purl in purls) == int(counted)
    git = (
        container.output("dpkg-query", "--show", "--showformat", "${Version}", "git")
        .replace(":", "%3A")
        .replace("+", "%2B")
    )
    assert any(purl.startswith(f"pkg:deb/debian/git@{git}?arch=") for purl in purls)
    for name in (
        "github.com/opentofu/opentofu",
        "k8s.io/kubernetes",
        "helm.sh/helm/v4",
        "github.com/pulumi/pulumi/pkg/v3",
    ):
        assert any(purl.startswith(f"pkg:golang/{name}@v") for purl in purls), name
    locked = (load.ROOT / "uv.lock").read_text()
    for purl in purls:
        if purl.startswith("pkg:pypi/"):
            name, _, version = purl.removeprefix("pkg:pypi/").partition("@")
            assert f'name = "{name}"\nversion = "{version}"' in locked.replace("_", "-"), f"{purl} is not locked"


def test_a_checkout_runs_with_the_image_s_dependencies(container: Container) -> None:
    checkout = [f"{load.ROOT}:/checkout:ro"]
    command = ["runner-platform", "check", "-s", "dev", "--reports", "/home/runner/reports"]
    output = container.output(*command, mounts=checkout, folder="/checkout")
    assert "dev: settings valid, the program runs" in output


@pytest.fixture
def identity(sandbox: Sandbox, tmp_path: Path) -> list[str]:
    """The volume of a job pod of class small: the ConfigMap's text and a real token."""
    client = KubeClient.from_kubeconfig(kubeconfig(sandbox))
    try:
        job_pods.write_identity(client, "small", tmp_path)
        config = client.get("v1", "ConfigMap", AWS_CONFIG_MAP, namespace_jobs("small"))["data"]["config"]
    finally:
        client.close()
    (tmp_path / "config").write_text(config)
    tmp_path.chmod(0o755)
    return [f"{tmp_path}:{MOUNT}:ro"]


def kubeconfig(sandbox: Sandbox) -> Path:
    """Return the administrator's kubeconfig of stack prod."""
    name = settings_of("prod").names.cluster
    return Path(next(cluster.kubeconfig for cluster in sandbox.state().clusters if cluster.name == name))


def doctor(
    container: Container, sandbox: Sandbox, *arguments: str, mounts: list[str], **variables: str
) -> dict[str, Any]:
    endpoint = f"http://127.0.0.1:{sandbox.state().ports.aws_jobs}"
    environment = {**NO_METADATA, "AWS_ENDPOINT_URL_STS": endpoint, **variables}
    done = container.run("doctor", "--json", *arguments, mounts=mounts, variables=environment)
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["ok"] is (done.returncode == 0), done.stderr
    return document


def test_a_job_in_the_image_gets_the_roles_of_its_profiles(
    container: Container, sandbox: Sandbox, identity: list[str]
) -> None:
    document = doctor(container, sandbox, mounts=identity, CI_JOB_ID="7")
    assert document["ok"], document
    assert (document["class"], document["job"]) == ("small", "7")
    assert {row["sdk"] for row in document["rows"]} == {"boto3", "cli", "go"}, "the image has no Node.js"
    assert {row["profile"] for row in document["rows"]} == {"default", "base", "cicd", "dev"}
    assert all(row["session_seconds"] for row in document["rows"]), "AWS CLI 2 knows it, too"


def test_doctor_and_tools_explain_a_missing_volume(container: Container, sandbox: Sandbox) -> None:
    document = doctor(container, sandbox, "--sdk", "cli", "dev", mounts=[])
    assert {finding["cause"] for finding in document["findings"]} == {"no-identity"}
    assert {row["cause"] for row in document["rows"]} == {"no-identity"}
    refused = container.run("aws", "sts", "get-caller-identity", "--profile", "dev", variables=NO_METADATA)
    assert refused.returncode != 0
    assert "no AWS identity" in refused.stderr, "the command shows the explanation"


def test_doctor_names_the_class_that_has_a_missing_profile(
    container: Container, sandbox: Sandbox, identity: list[str]
) -> None:
    document = doctor(container, sandbox, "--sdk", "go", "prod", mounts=identity)
    (finding,) = document["findings"]
    assert finding["cause"] == "class-without-account"
    assert "class small has no profile prod" in finding["text"]
    assert "classes with it: deploy" in finding["text"]


def test_the_image_s_config_of_a_class_serves_a_pod_with_the_token_alone(
    container: Container, sandbox: Sandbox, identity: list[str]
) -> None:
    (folder, *_) = identity[0].split(":")
    Path(folder, "config").unlink()
    image_config = "/etc/runner-platform/classes/small/config"
    document = doctor(container, sandbox, "--sdk", "cli", "dev", mounts=identity, AWS_CONFIG_FILE=image_config)
    assert document["ok"], document
    missing = doctor(container, sandbox, "--sdk", "cli", mounts=identity)
    assert [finding["cause"] for finding in missing["findings"]] == ["no-config"]


def test_doctor_finds_a_read_only_home(
    container: Container, sandbox: Sandbox, identity: list[str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    document = doctor(container, sandbox, "--sdk", "go", "dev", mounts=[*identity, f"{home}:/home/runner:ro"])
    assert [finding["cause"] for finding in document["findings"]] == ["read-only-home"]


def test_the_image_is_a_job_in_a_real_pod(
    builder: Builder, container: Container, sandbox: Sandbox, tmp_path: Path
) -> None:
    del container  # the image has to be built
    reason = obstacle(sandbox.paths)
    if reason:
        pytest.skip(reason)
    runner = job_pods.configuration(class_files.values("prod", "small"))
    layout = tmp_path / "runner"
    builder.buildah("push", "--disable-compression", RUNNER, f"oci:{layout}:runner")
    name_image(layout, [runner["kubernetes"]["image"]])
    pod = job_pods.job_pod(runner, "runner-image")
    endpoint = f"http://127.0.0.1:{sandbox.state().ports.aws_jobs}"
    pod["spec"]["containers"][0]["env"].append({"name": "AWS_ENDPOINT_URL_STS", "value": endpoint})
    file, namespace = kubeconfig(sandbox), namespace_jobs("small")
    with running_nodes(sandbox.paths, "prod", ["small"]) as (node,), KubeClient.from_kubeconfig(file) as client:
        node.add_image("job", layout)
        client.create(pod)
        until(
            lambda: client.get("v1", "Pod", "runner-image", namespace)["status"]["phase"] == "Running", "the job", 180
        )
        command = ["exec", "runner-image", f"--namespace={namespace}", "--", "doctor", "--json", "--sdk", "cli", "dev"]
        done = sandbox.run([str(Tools.find(sandbox.paths).kubectl), f"--kubeconfig={file}", *command])
        document = json.loads(done.stdout)
        assert document["ok"], document
        assert document["class"] == "small"


def test_the_builder_image_adds_only_metadata_to_the_plain_builder(builder: Builder, context: Path) -> None:
    # kaniko's image is not available, so the platform's file is tried on another image.
    builder.build(context, "builder.Containerfile", "localhost/runner-builder", PLAIN_BUILDER=BASE)
    inspected = json.loads(builder.buildah("inspect", "--type", "image", "localhost/runner-builder"))["OCIv1"]
    base = json.loads(builder.buildah("inspect", "--type", "image", BASE))["OCIv1"]
    assert inspected["rootfs"]["diff_ids"][: len(base["rootfs"]["diff_ids"])] == base["rootfs"]["diff_ids"]
    assert inspected["config"]["Labels"]["org.opencontainers.image.title"] == "runner-builder"
    assert not inspected["config"].get("Entrypoint"), "GitLab runs its script in the image's shell"
    assert not inspected["config"].get("User"), "kaniko is root in its container"


@pytest.mark.parametrize("file", image_context.CONTAINERFILES)
def test_a_build_without_a_base_image_fails(builder: Builder, context: Path, file: str) -> None:
    output = builder.buildah("build", "--file", str(context / file), str(context), fails=True)
    assert "FROM" in output or "base name" in output
