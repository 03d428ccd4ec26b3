# ruff: noqa: INP001 - a Pulumi project, not a package
"""A small program for the real engine: a runner of GitLab, its token in a Secret, a release that uses it."""

import pulumi
import pulumi_gitlab as gitlab
import pulumi_kubernetes as kubernetes

config = pulumi.Config()
provider = kubernetes.Provider(
    "cluster",
    kubeconfig=config.require("kubeconfig"),
    cluster_identifier="test",
    enable_secret_mutable=True,
)
on_cluster = pulumi.ResourceOptions(provider=provider)

runner = gitlab.UserRunner(
    "small",
    runner_type="group_type",
    group_id=1234,
    tag_lists=["small"],
    untagged=False,
    maximum_timeout=3600,
    opts=pulumi.ResourceOptions(provider=gitlab.Provider("gitlab")),
)
namespace = kubernetes.core.v1.Namespace("managers", opts=on_cluster)
in_namespace = kubernetes.meta.v1.ObjectMetaArgs(namespace=namespace.metadata.name)
token = kubernetes.core.v1.Secret(
    "token",
    metadata=in_namespace,
    string_data={"runner-token": runner.token, "runner-registration-token": ""},
    opts=on_cluster,
)
kubernetes.core.v1.ServiceAccount("job", metadata=in_namespace, opts=on_cluster)
kubernetes.apiextensions.CustomResource(
    "class",
    api_version="eks.amazonaws.com/v1",
    kind="NodeClass",
    metadata=kubernetes.meta.v1.ObjectMetaArgs(annotations={"pulumi.com/skipAwait": "true"}),
    spec={
        "role": "node",
        "networkPolicy": "DefaultDeny",
        "subnetSelectorTerms": [{"id": "subnet-0123456789abcdef0"}],
        "securityGroupSelectorTerms": [{"id": "sg-0123456789abcdef0"}],
    },
    opts=on_cluster,
)
release = kubernetes.helm.v3.Release(
    "manager",
    chart="gitlab-runner",
    version="0.93.0",
    repository_opts=kubernetes.helm.v3.RepositoryOptsArgs(repo=config.require("repository")),
    namespace=namespace.metadata.name,
    atomic=True,
    timeout=60,
    values={
        "gitlabUrl": "https://gitlab.com",
        "concurrent": config.get_int("concurrent") or 10,
        "runners": {"secret": token.metadata.name, "name": "small"},
        "podAnnotations": {"checksum/token": runner.token},
    },
    opts=on_cluster,
)
pulumi.export("namespace", namespace.metadata.name)
pulumi.export("release", release.status.name)
pulumi.export("version", release.status.app_version)
pulumi.export("runner", runner.id)
