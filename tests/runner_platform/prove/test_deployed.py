"""The identity of a deployed class, read from the objects of a cluster, and written to files for a process."""

from __future__ import annotations

import base64
import configparser
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from components.documents.config_toml import config_toml
from components.documents.job_identity import pod_patch
from config import load
from config.names import IDENTITY_FOLDER
from runner_platform.errors import FailedError
from runner_platform.prove import deployed, job_pod, tokens
from runner_platform.prove.attempts import TOKEN_FILE, Attempt, Forgery, Identity, Sdk, Token, Way
from runner_platform.prove.deployed import ClassProblemError, TokenFile
from runner_platform.prove.job_files import JobFiles
from runner_platform.prove.job_pod import UnknownPatchError, merged
from runner_platform.prove.tokens import Tokens, _decoded
from tests.support.api_server import ISSUER, ApiServerStandIn

pytestmark = pytest.mark.thorough

REGION = "eu-central-1"
CONFIGURATION = "/api/v1/namespaces/runner-small/configmaps/gitlab-runner-small"
SMALL = Identity(stack="prod", runner_class="small")
OWN = Token(stack="prod", namespace="jobs-small", account="job")


def test_container_build_gets_the_identity_of_the_patch_alone() -> None:
    small = deployed.read_class(ApiServerStandIn(), "small", REGION)
    assert (small.namespace, small.account) == ("jobs-small", "job")
    assert small.variables == {"AWS_CONFIG_FILE": f"{IDENTITY_FOLDER}/config", "AWS_SDK_LOAD_CONFIG": "1"}
    assert set(small.files) == {IDENTITY_FOLDER}
    assert small.files[IDENTITY_FOLDER]["token"] == TokenFile(audience="sts.amazonaws.com", seconds=3600)
    helper = next(container for container in small.pod["spec"]["containers"] if container["name"] == "helper")
    assert {variable["name"] for variable in helper["env"]} == {"HOME"}, "helper stages have no identity"
    assert IDENTITY_FOLDER not in {mount["mountPath"] for mount in helper["volumeMounts"]}


def replace_in_template(server: ApiServerStandIn, old: str, new: str) -> None:
    data = server.objects[CONFIGURATION]["data"]
    assert old in data["config.template.toml"]
    data["config.template.toml"] = data["config.template.toml"].replace(old, new)


def test_without_its_feature_flag_the_runner_ignores_the_patch() -> None:
    server = ApiServerStandIn()
    replace_in_template(
        server, "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION = true", "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION = false"
    )
    small = deployed.read_class(server, "small", REGION)
    assert (small.variables, small.files) == ({}, {}), "and the job would have no identity at all"


def test_variables_of_the_runner_reach_its_jobs() -> None:
    server = ApiServerStandIn()
    replace_in_template(server, "[[runners]]", '[[runners]]\nenvironment = ["AWS_ROLE_ARN=arn:x", "A=b=c"]')
    assert (
        deployed.read_class(server, "small", REGION).variables.items() >= {"AWS_ROLE_ARN": "arn:x", "A": "b=c"}.items()
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (CONFIGURATION, "configmap gitlab-runner-small in runner-small is missing; `pulumi up` creates it again"),
        ("/api/v1/namespaces/jobs-small/configmaps/aws-config", "configmap aws-config in jobs-small is missing"),
        ("/api/v1/namespaces/jobs-small/serviceaccounts/job", "serviceaccount job in jobs-small is missing"),
    ],
)
def test_an_incomplete_class_is_reported_by_its_missing_object(path: str, words: str) -> None:
    server = ApiServerStandIn()
    del server.objects[path]
    with pytest.raises(ClassProblemError, match=words):
        deployed.read_class(server, "small", REGION)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[[runners]]", "[[runners", "cannot be used"),
        ('patch_type = "strategic"', 'patch_type = "json"', "this program implements strategic patches only"),
        ("name: build\n", "name: build\n  $patch: replace\n", r"uses \$patch"),
        ("key: config\n", "key: other\n", "ConfigMap aws-config in jobs-small has no key 'other'"),
        ("- configMap:", "- secret:", "mounts secret, which this program does not implement"),
    ],
)
def test_an_unknown_configuration_is_an_error(old: str, new: str, words: str) -> None:
    server = ApiServerStandIn()
    replace_in_template(server, old, new)
    with pytest.raises(ClassProblemError, match=words):
        deployed.read_class(server, "small", REGION)


def test_lists_with_a_merge_key_are_merged_and_the_others_replaced() -> None:
    pod = {"containers": [{"name": "build", "image": "x", "env": [{"name": "A", "value": "1"}], "args": ["a"]}], "a": 1}
    patch = {"containers": [{"name": "build", "env": [{"name": "B", "value": "2"}], "args": ["b"]}], "a": None}
    build = {"name": "build", "image": "x", "args": ["b"]}
    assert merged(pod, patch) == {
        "containers": [{**build, "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]
    }
    assert pod["containers"][0]["args"] == ["a"], "the original stays"  # type: ignore[index]
    with pytest.raises(UnknownPatchError, match="deleteFromPrimitiveList"):
        merged({}, {"$deleteFromPrimitiveList/a": []})


def test_the_pod_is_patched_with_the_text_of_the_configuration() -> None:
    section = job_pod.runner_section(config_toml(load.of_stack("dev").runner_class("big")))
    build = job_pod.job_pod(section, "trial")["spec"]["containers"][0]
    assert build["env"] == pod_patch()["containers"][0]["env"]


def test_a_role_on_the_service_account_adds_variables_that_beat_profiles() -> None:
    server = ApiServerStandIn()
    account = server.objects["/api/v1/namespaces/jobs-small/serviceaccounts/job"]
    account["metadata"]["annotations"] = {
        f"{job_pod.WEBHOOK_PREFIX}role-arn": "arn:x",
        f"{job_pod.WEBHOOK_PREFIX}token-expiration": "600",
    }
    small = deployed.read_class(server, "small", REGION)
    assert small.variables["AWS_ROLE_ARN"] == "arn:x"
    assert small.variables["AWS_WEB_IDENTITY_TOKEN_FILE"] == f"{job_pod.WEBHOOK_FOLDER}/token"
    assert small.files[job_pod.WEBHOOK_FOLDER] == {"token": TokenFile(audience="sts.amazonaws.com", seconds=600)}


def job_files(root: Path, server: ApiServerStandIn) -> JobFiles:
    classes = {("prod", name): deployed.read_class(server, name, REGION) for name in load.of_stack("prod").runners}
    return JobFiles(root, classes, Tokens({"prod": server}))


def test_variables_and_files_refer_to_the_written_files(tmp_path: Path) -> None:
    variables = job_files(tmp_path, ApiServerStandIn()).write(SMALL)
    config = configparser.ConfigParser()
    config.read(variables["AWS_CONFIG_FILE"])
    token = Path(config["default"]["web_identity_token_file"])
    assert token.is_relative_to(tmp_path)
    claims = _decoded(token.read_text().split(".")[1])
    assert (claims["sub"], claims["aud"]) == ("system:serviceaccount:jobs-small:job", ["sts.amazonaws.com"])
    assert IDENTITY_FOLDER not in Path(variables["AWS_CONFIG_FILE"]).read_text()


def test_a_stranger_s_token_and_profiles_are_used(tmp_path: Path) -> None:
    stranger = Token(stack="prod", namespace="jobs-big", account="default")
    identity = Identity(
        stack="prod", runner_class="small", token=stranger, profiles=f"[profile x]\nfile = {TOKEN_FILE}\n"
    )
    variables = job_files(tmp_path, ApiServerStandIn()).write(identity)
    config = configparser.ConfigParser()
    config.read(variables["AWS_CONFIG_FILE"])
    text = Path(config["profile x"]["file"]).read_text()
    assert _decoded(text.split(".")[1])["sub"] == "system:serviceaccount:jobs-big:default"


def test_only_the_address_of_aws_is_inherited_from_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("RUNNER_PLATFORM_JOB_ENDPOINT", "http://127.0.0.1:1")
    attempt = Attempt(
        runner_class="small",
        caller="jobs-small/job",
        identity=SMALL,
        profile="dev",
        sdk=Sdk.GO,
        way=Way.ENV,
        expected="",
    )
    files = job_files(tmp_path, ApiServerStandIn())
    first, second = (files.environment(attempt, {"A": "b"}) for _ in range(2))
    assert first.pop("HOME") != second["HOME"], "no attempt finds a session that another one cached"
    endpoint = {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1", "AWS_EC2_METADATA_DISABLED": "true"}
    assert first == {"A": "b", "AWS_PROFILE": "dev", **endpoint}
    assert stat.S_ISDIR(Path(second["HOME"]).stat().st_mode)


@pytest.fixture
def signing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> rsa.RSAPrivateKey:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    file = tmp_path / ISSUER.rpartition("/")[2] / "keys" / "service-account.key"
    file.parent.mkdir(parents=True)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(key.private_bytes(*form))
    monkeypatch.setenv(tokens.KEY_VARIABLE, str(tmp_path))
    return key


def forge(forgery: Forgery) -> tuple[dict[str, Any], dict[str, Any], str]:
    token = Token(stack="prod", namespace="jobs-small", account="job", forgery=forgery)
    text = Tokens({"prod": ApiServerStandIn()}).get(token, TokenFile(audience="sts.amazonaws.com", seconds=3600))
    header, claims = (_decoded(part) for part in text.split(".")[:2])
    return header, claims, text


def signed_by(key: rsa.RSAPrivateKey, text: str) -> bool:
    body, _, signature = text.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    try:
        key.public_key().verify(raw, body.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def test_expired_and_early_tokens_differ_in_their_times_alone(signing: rsa.RSAPrivateKey) -> None:
    for forgery in (Forgery.EXPIRED, Forgery.NOT_YET_VALID):
        _, claims, text = forge(forgery)
        assert signed_by(signing, text), "otherwise the signature would be the reason for the refusal"
        assert claims["iss"] == ISSUER
        assert claims["nbf"] < claims["exp"]


def test_tokens_of_another_key_differ_in_the_signature_alone(signing: rsa.RSAPrivateKey) -> None:
    header, claims, text = forge(Forgery.OTHER_KEY)
    assert not signed_by(signing, text)
    assert (header["kid"], claims["iss"]) == ("k", ISSUER)


def test_the_remaining_forgeries_differ_as_their_names_say() -> None:
    assert forge(Forgery.OTHER_AUDIENCE)[1]["aud"] == [tokens.OTHER_AUDIENCE]
    header, _, text = forge(Forgery.UNSIGNED)
    assert header["alg"] == "none"
    assert text.endswith(".")
    assert forge(Forgery.OTHER_CLUSTER)[1]["iss"] != ISSUER


def test_without_the_cluster_s_key_two_forgeries_are_impossible(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(tokens.KEY_VARIABLE, raising=False)
    assert set(Forgery) - set(tokens.possible_forgeries()) == {Forgery.EXPIRED, Forgery.NOT_YET_VALID}
    monkeypatch.setenv(tokens.KEY_VARIABLE, str(tmp_path))
    with pytest.raises(FailedError, match="signing key"):
        forge(Forgery.EXPIRED)
