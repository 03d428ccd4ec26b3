"""Rules about what nobody judges: types, properties, code at deployment, options of providers, objects outside of their namespaces."""

from __future__ import annotations

import json
from typing import Any

import pytest

from access.resource import UNKNOWN
from policies.exceptions import Entry, Exceptions
from policies.judged_types import JUDGED
from policies.rules import RULES
from tests.policies.test_hygiene import TODAY
from tests.support.policy_cases import (
    all_findings,
    assert_undecided,
    assert_violation,
    new_resource,
    report,
    resource_named,
    with_input,
)

RBAC, ADMISSION = "kubernetes:rbac.authorization.k8s.io/v1", "kubernetes:admissionregistration.k8s.io/v1"
UNJUDGED = [
    *(f"{RBAC}:{kind}Patch" for kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")),
    *(f"{RBAC}:{kind}List" for kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")),
    *(f"kubernetes:core/v1:{kind}Patch" for kind in ("ConfigMap", "Namespace", "Secret", "ServiceAccount", "Node")),
    *(
        f"kubernetes:core/v1:{kind}"
        for kind in ("Pod", "ConfigMapList", "SecretList", "ServiceAccountList", "PersistentVolume")
    ),
    *(f"kubernetes:apps/v1:{kind}" for kind in ("DaemonSet", "Deployment", "StatefulSet", "DaemonSetPatch")),
    *("kubernetes:batch/v1:Job", "kubernetes:batch/v1:CronJob", "kubernetes:networking.k8s.io/v1:NetworkPolicyPatch"),
    *(f"{ADMISSION}:{kind}" for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")),
    *(f"{ADMISSION}:ValidatingAdmissionPolicy{kind}" for kind in ("Patch", "BindingPatch", "List", "BindingList")),
    "kubernetes:admissionregistration.k8s.io/v1beta1:MutatingAdmissionPolicy",
    "kubernetes:apiregistration.k8s.io/v1:APIService",
    "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition",
    "kubernetes:certificates.k8s.io/v1:CertificateSigningRequest",
    "kubernetes:networking.k8s.io/v1:IPAddress",
    "kubernetes:karpenter.sh/v1beta1:NodePool",
    "kubernetes:eks.amazonaws.com/v1:NodeClassPatch",
    *("aws:eks/fargateProfile:FargateProfile", "aws:eks/identityProviderConfig:IdentityProviderConfig"),
    "aws:iam/samlProvider:SamlProvider",
    "aws:iam/serviceLinkedRole:ServiceLinkedRole",
    *("aws:lambda/function:Function", "aws:lambda/permission:Permission", "aws:lambda/invocation:Invocation"),
    *("aws:codebuild/project:Project", "aws:cloudformation/stack:Stack", "aws:ssm/association:Association"),
    *(
        "aws:ec2/instance:Instance",
        "aws:ec2/vpcPeeringConnection:VpcPeeringConnection",
    ),
    *("aws:s3/bucketObjectv2:BucketObjectv2", "aws:s3/accessPoint:AccessPoint", "aws:s3/bucketAcl:BucketAcl"),
    *("aws:ecr/pullThroughCacheRule:PullThroughCacheRule", "aws:ecr/replicationConfiguration:ReplicationConfiguration"),
    *(
        "aws:sqs/queue:Queue",
        "aws:ram/resourceShare:ResourceShare",
    ),
    *("aws:rolesanywhere/profile:Profile", "aws:ssoadmin/permissionSet:PermissionSet"),
    *("gitlab:index/runner:Runner", "gitlab:index/projectRunnerEnablement:ProjectRunnerEnablement"),
    *("gitlab:index/branchProtection:BranchProtection", "gitlab:index/deployKey:DeployKey"),
    *("gitlab:index/projectAccessToken:ProjectAccessToken", "gitlab:index/projectVariable:ProjectVariable"),
    *("gitlab:index/projectMembership:ProjectMembership", "gitlab:index/pipelineSchedule:PipelineSchedule"),
    *(
        "pulumi:providers:aws-native",
        "aws-native:iam:Role",
        "awsx:ec2:Vpc",
        "eks:index:Cluster",
        "random:index/randomId:RandomId",
    ),
    *("pulumi:pulumi:StackReference", "AWS:iam/role:Role", "aws:iam/Role:Role", "my:index:Component"),
]
CODE = [
    *("pulumi-python:dynamic:Resource", "pulumi-python:dynamic/tool:Thing", "pulumi-nodejs:dynamic:Resource"),
    *("command:local:Command", "command:remote:Command", "command:remote:CopyToRemote", "local:index:Command"),
    *("null:index/resource:Resource", "docker:index/image:Image", "docker-build:index:Image"),
    *("kubernetes:yaml:ConfigFile", "kubernetes:yaml:ConfigGroup", "kubernetes:yaml/v2:ConfigGroup"),
    *("kubernetes:kustomize:Directory", "kubernetes:kustomize/v2:Directory"),
    *("kubernetes:helm.sh/v3:Chart", "kubernetes:helm.sh/v4:Chart", "terraform:index:Stack"),
]


@pytest.mark.parametrize("token", UNJUDGED)
def test_a_type_that_nobody_judges_is_a_finding(token: str) -> None:
    stranger = new_resource(resource_named("prod", "small-runner-jobs"), "stranger", token)
    assert report("H05", stranger) == [f"VIOLATION: undecided: nobody judges {token}"]


@pytest.mark.parametrize("token", CODE)
def test_a_type_that_runs_code_at_deployment_is_a_finding_of_its_own(token: str) -> None:
    stranger = new_resource(resource_named("prod", "small-runner-jobs"), "stranger", token)
    assert_violation("H06", stranger, "runs code at deployment")
    assert set(all_findings(stranger)) == {"H06"}


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("network-vpc", "ipv6IpamPoolId", "pool"),
        ("network-vpc", "region", "us-east-1"),
        ("network-private-0", "mapPublicIpOnLaunch", True),
        ("cluster-cluster", "computeConfig.nodePools", ["general-purpose"]),
        ("cluster-cluster", "computeConfig.nodeRoleArn", "arn:aws:iam::222222222222:role/cicd/runner-deploy"),
        ("cluster-cluster", "outpostConfig", {"outpostArns": ["a"]}),
        ("cluster-cluster", "remoteNetworkConfig", {"remoteNodeNetworks": []}),
        ("cluster-access-deployer", "userName", "system:admin"),
        ("cluster-key", "bypassPolicyLockoutSafetyCheck", True),
        ("small-nodes-class", "spec.instanceProfile", "deployer"),
        ("small-nodes-class", "spec.certificateBundles", [{"name": "a", "data": "b"}]),
        ("small-nodes-class", "spec.advancedNetworking.httpsProxy", "http://198.51.100.1"),
        ("small-nodes-pool", "spec.template.spec.startupTaints", [{"key": "a"}]),
        ("small-runner-job-account", "secrets", [{"name": "token"}]),
        ("small-runner-job-account", "imagePullSecrets", [{"name": "registry"}]),
        ("small-runner-job-account", "metadata.ownerReferences", [{"kind": "Node"}]),
        ("small-runner-executor", "aggregationRule", {"clusterRoleSelectors": [{}]}),
        ("small-runner-token", "type", "kubernetes.io/service-account-token"),
    ],
)
def test_a_property_that_nobody_judges_is_a_finding(name: str, path: str, value: Any) -> None:
    (text,) = report("H05", with_input(resource_named("prod", name), path, value))
    assert text.startswith(f"VIOLATION: undecided: nobody judges {path.split('.', maxsplit=1)[0]}"), text
    assert "general-purpose" not in text, "a message holds no value"


def test_an_unknown_value_of_a_judged_property_is_undecided() -> None:
    assert_undecided("H05", with_input(resource_named("prod", "small-nodes-class"), "spec", UNKNOWN), "spec")
    assert_undecided(
        "H05",
        with_input(resource_named("prod", "network-private-0"), "mapPublicIpOnLaunch", UNKNOWN),
        "mapPublicIpOnLaunch",
    )


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("network-vpc", "__defaults", ["instanceTenancy"]),
        ("network-vpc", "instanceTenancy", "default"),
        ("network-vpc", "region", "eu-central-1"),
        ("network-private-0", "mapPublicIpOnLaunch", False),
        ("network-private-0", "tags", {"more": "tags"}),
        ("cluster-cluster", "computeConfig.nodePools", []),
        ("small-runner-jobs", "metadata.uid", "from-the-server"),
        ("small-runner-token", "type", "Opaque"),
    ],
)
def test_what_a_plugin_adds_is_no_finding(name: str, path: str, value: Any) -> None:
    assert report("H05", with_input(resource_named("prod", name), path, value)) == []


def test_the_table_names_rules_that_exist_and_holds_every_type_of_a_rule() -> None:
    ids = {rule.id for rule in RULES}
    unknown_ids = {
        word for judged in JUDGED.values() if not judged.by.startswith("harmless: ") for word in judged.by.split()
    } - ids
    assert {word for word in unknown_ids if word.isupper()} == set()
    assert {token for rule in RULES for token in rule.types} <= set(JUDGED)
    for token, judged in JUDGED.items():
        assert judged.by.split()[0] in {*ids, "harmless:"}, f"{token}: name the rules that judge it, or the reason"


def test_an_exception_covers_a_type_that_nobody_judges() -> None:
    queue = new_resource(resource_named("prod", "cluster-key"), "jobs", "aws:sqs/queue:Queue", name="jobs")
    entry = Entry(rule="H05", resource=queue.urn, reason="holds events of the alarms only", expires=TODAY)
    assert set(all_findings(queue)) == {"H05"}, "one rule reports it, so one exception is enough"
    assert Exceptions([entry], TODAY).cover("H05", queue.urn)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("skipCredentialsValidation", "true", "nobody compares the account"),
        ("region", "us-east-1", "region is 'us-east-1'"),
        ("defaultTags", '{"tags": {"platform:stack": "dev"}}', "defaultTags are not those"),
        *(
            (key, value, f"{key} is set")
            for key, value in (
                *(("skipRequestingAccountId", "true"), ("skipMetadataApiCheck", "false"), ("insecure", "true")),
                *(
                    ("sharedConfigFiles", '["/a"]'),
                    ("sharedCredentialsFiles", '["/a"]'),
                    ("secretKey", "x"),
                    ("token", "x"),
                ),
                *(("assumeRole", '{"roleArn": "a"}'), ("assumeRoles", '[{"roleArn": "a"}]'), ("ignoreTags", "{}")),
                *(("assumeRoleWithWebIdentity", "{}"), ("forbiddenAccountIds", '["1"]'), ("httpsProxy", "http://a")),
                *(
                    ("customCaBundle", "/a"),
                    ("stsRegion", "us-east-1"),
                    ("s3UsePathStyle", "true"),
                    ("useFipsEndpoint", "true"),
                ),
            )
        ),
    ],
)
def test_an_aws_provider_without_its_guards_is_a_violation(path: str, value: str, message: str) -> None:
    assert_violation("H01", with_input(resource_named("prod", "prod", "pulumi:providers:aws"), path, value), message)


KUBECONFIG = "cluster-kubernetes"


def kubeconfig(**changes: Any) -> str:
    document = json.loads(resource_named("prod", KUBECONFIG).inputs["kubeconfig"])
    return json.dumps({**document, **changes})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        *(("enableServerSideApply", value, "enableServerSideApply is not on") for value in ("false", False, None)),
        ("enableConfigMapMutable", "false", "enableConfigMapMutable is not on"),
        *(
            (key, "true", f"{key} is set")
            for key in (
                "skipUpdateUnreachable",
                "deleteUnreachable",
                "suppressDeprecationWarnings",
                "upsertExistingObjects",
            )
        ),
        *(
            (key, "x", f"{key} is set")
            for key in ("renderYamlToDirectory", "namespace", "context", "cluster", "helmReleaseSettings")
        ),
        ("kubeconfig", "~/.kube/config", "kubeconfig is not that"),
        ("kubeconfig", lambda: kubeconfig(clusters=[]), "kubeconfig is not that"),
        (
            "kubeconfig",
            lambda: kubeconfig(users=[{"name": "deployer", "user": {"token": "x"}}]),
            "kubeconfig is not that",
        ),
        ("kubeconfig.clusters.0.cluster.server", "https://elsewhere.example.com", "kubeconfig is not that"),
        ("kubeconfig.clusters.0.cluster.insecure-skip-tls-verify", True, "kubeconfig is not that"),
        ("kubeconfig.clusters.0.cluster.proxy-url", "http://198.51.100.1", "kubeconfig is not that"),
        ("kubeconfig.users.0.user.exec.command", "sh", "kubeconfig is not that"),
        ("kubeconfig.users.0.user.exec.args.2", "other", "kubeconfig is not that"),
    ],
)
def test_a_kubernetes_provider_without_its_guards_is_a_violation(path: str, value: Any, message: str) -> None:
    changed = with_input(resource_named("prod", KUBECONFIG), path, value() if callable(value) else value)
    assert_violation("H07", changed, message)


def test_an_unknown_kubeconfig_is_undecided() -> None:
    assert_undecided("H07", with_input(resource_named("prod", KUBECONFIG), "kubeconfig", UNKNOWN), "kubeconfig")


@pytest.mark.parametrize(
    "key", ["token", "insecure", "cacertFile", "clientCert", "earlyAuthCheck", "headers", "configFile"]
)
def test_a_gitlab_provider_with_other_options_is_a_violation(key: str) -> None:
    provider = resource_named("prod", "gitlab", "pulumi:providers:gitlab")
    assert_violation("H07", with_input(provider, key, "x"), f"{key} is set")


def test_a_gitlab_provider_of_another_instance_is_a_violation() -> None:
    provider = resource_named("prod", "gitlab", "pulumi:providers:gitlab")
    assert_violation(
        "H07", with_input(provider, "baseUrl", "https://gitlab.example.com/api/v4/"), "baseUrl is not that of"
    )
    assert report("H07", provider) == []


def test_an_object_without_an_explicit_provider_is_a_violation() -> None:
    stranger = new_resource(
        resource_named("prod", "gitlab", "pulumi:providers:gitlab"), "x", "kubernetes:core/v1:ConfigMap"
    )
    assert_violation("H07", stranger, "no explicit provider")


@pytest.mark.parametrize("namespace", ["kube-system", "default", "jobs-other", "amazon-cloudwatch", ""])
@pytest.mark.parametrize("name", ["small-runner-executor", "small-runner-token", "small-runner-job-account"])
def test_an_object_outside_of_the_programs_namespaces_is_a_violation(name: str, namespace: str) -> None:
    moved = with_input(resource_named("prod", name), "metadata.namespace", namespace)
    assert_violation("E11", moved, f"is in namespace {namespace}")


def test_a_binding_of_a_foreign_service_account_is_a_violation() -> None:
    binding = resource_named("prod", "small-runner-executor-binding")
    assert_violation("E09", with_input(binding, "subjects.0.namespace", "kube-system"), "is of namespace kube-system")
