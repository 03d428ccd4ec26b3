"""Keys, command lines and kwok's stages of a control plane, without starting one."""

from __future__ import annotations

import json
import ssl
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from cryptography import x509

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.kubernetes import command_lines
from runner_platform_sandbox.kubernetes.command_lines import (
    PROCESS_CONDITION,
    REFERENCES_CONDITION,
    Binaries,
    ClusterSpec,
    Layout,
)
from runner_platform_sandbox.kubernetes.control_plane import Children, ControlPlane
from runner_platform_sandbox.kubernetes.keys import KUBELET_CLIENT, Keys
from runner_platform_sandbox.kubernetes.kubeconfig import read_kubeconfig
from runner_platform_sandbox.kubernetes.pools import REAL_NODE_LABEL

ISSUER = "https://oidc.eks.eu-central-1.amazonaws.com/id/ABC"
STAGES = ("node-initialize", "node-heartbeat", "pod-ready", "pod-complete", "pod-delete")


def spec(**change: Any) -> ClusterSpec:
    settings = {
        "account": "222222222222",
        "region": "eu-central-1",
        "name": "trial",
        "version": "1.35",
        "issuer": ISSUER,
        "service_cidr": "172.20.0.0/16",
        "webhook_url": "http://127.0.0.1:1/review",
    }
    return ClusterSpec(**{**settings, **change})


def stage(name: str, mark: str = "") -> str:
    body = {"kind": "Stage", "metadata": {"name": name, "mark": mark}, "spec": {"selector": {"matchExpressions": []}}}
    return yaml.safe_dump(body)


@pytest.fixture
def binaries(tmp_path: Path) -> Binaries:
    folder = tmp_path / "stages"
    for name in STAGES:
        (folder / "fast").mkdir(parents=True, exist_ok=True)
        (folder / "fast" / f"{name}.yaml").write_text(stage(name, "fast"))
    names = ("etcd", "kube_apiserver", "kube_controller_manager", "kube_scheduler", "kwok")
    return Binaries(**{name: tmp_path / name for name in names}, kwok_stages=folder, karpenter_crds=tmp_path)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    keys = Keys(tmp_path / "keys")
    keys.ensure()
    return Layout(folder=tmp_path, keys=keys, etcd_port=1, api_port=2)


def test_every_listener_is_on_loopback(binaries: Binaries, layout: Layout) -> None:
    lines = [*command_lines.etcd(binaries, layout), *command_lines.api_server(binaries, layout, spec())]
    for flag in ("--listen-client-urls", "--listen-peer-urls", "--bind-address", "--advertise-address"):
        (value,) = [line.partition("=")[2] for line in lines if line.startswith(f"{flag}=")]
        assert "127.0.0.1" in value
    for command in (command_lines.controller_manager(binaries, layout), command_lines.scheduler(binaries, layout)):
        assert "--secure-port=0" in command


def test_the_api_server_speaks_for_the_clusters_issuer_and_asks_the_webhook(binaries: Binaries, layout: Layout) -> None:
    line = command_lines.api_server(binaries, layout, spec())
    assert f"--service-account-issuer={ISSUER}" in line
    assert f"--api-audiences=https://kubernetes.default.svc,{ISSUER}" in line
    assert "--authentication-token-webhook-cache-ttl=5s" in line
    assert "--service-cluster-ip-range=172.20.0.0/16" in line
    assert not [
        flag for flag in command_lines.api_server(binaries, layout, spec(webhook_url=None)) if "webhook" in flag
    ]


def test_the_api_server_is_the_only_client_of_a_kubelet_and_kwok_leaves_its_node_alone(
    binaries: Binaries, layout: Layout
) -> None:
    command_lines.write_files(binaries, layout, spec())
    line = command_lines.api_server(binaries, layout, spec())
    for flag in ("--kubelet-client-certificate", "--kubelet-client-key"):
        (file,) = [argument.partition("=")[2] for argument in line if argument.startswith(f"{flag}=")]
        assert (layout.folder / file).exists()
    assert f"--manage-nodes-with-label-selector=!{REAL_NODE_LABEL}" in command_lines.kwok(binaries, layout)


def test_a_cluster_knows_its_name_in_aws() -> None:
    assert spec().arn == "arn:aws:eks:eu-central-1:222222222222:cluster/trial"


def test_kwok_runs_only_pods_whose_references_were_found(binaries: Binaries) -> None:
    (binaries.kwok_stages / "general").mkdir()
    (binaries.kwok_stages / "general" / "pod-ready.yaml").write_text(stage("pod-ready", "general"))
    by_name = {document["metadata"]["name"]: document for document in command_lines.stages(binaries.kwok_stages)}
    assert tuple(by_name) == STAGES
    assert by_name["pod-ready"]["metadata"]["mark"] == "fast"
    gate, _ = by_name["pod-ready"]["spec"]["selector"]["matchExpressions"]
    assert REFERENCES_CONDITION in gate["key"]
    assert (gate["operator"], gate["values"]) == ("In", ["True"])


def test_kwok_leaves_pods_of_a_process_node_alone(binaries: Binaries) -> None:
    for document in command_lines.stages(binaries.kwok_stages):
        expressions = document["spec"]["selector"]["matchExpressions"]
        guards = [expression for expression in expressions if PROCESS_CONDITION in expression["key"]]
        is_of_pods = document["metadata"]["name"].startswith("pod-")
        assert [(guard["operator"], guard["values"]) for guard in guards] == [("NotIn", ["True"])] * is_of_pods


def test_the_api_server_shows_kubelets_a_certificate_that_is_no_administrators(
    binaries: Binaries, layout: Layout
) -> None:
    (value,) = [
        line.partition("=")[2]
        for line in command_lines.api_server(binaries, layout, spec())
        if line.startswith("--kubelet-client-certificate=")
    ]
    certificate = x509.load_pem_x509_certificate(Path(value).read_bytes())
    assert KUBELET_CLIENT in certificate.subject.rfc4514_string()
    assert "system:masters" not in certificate.subject.rfc4514_string()


def test_a_missing_stage_of_kwok_is_named(binaries: Binaries) -> None:
    (binaries.kwok_stages / "fast" / "pod-delete.yaml").unlink()
    with pytest.raises(SandboxError, match="no kwok stage pod-delete"):
        command_lines.stages(binaries.kwok_stages)


def test_the_files_of_a_control_plane_can_be_read_by_their_owner_only(binaries: Binaries, layout: Layout) -> None:
    command_lines.write_files(binaries, layout, spec())
    for file in [*layout.folder.glob("*.kubeconfig"), *layout.keys.folder.iterdir()]:
        assert file.stat().st_mode & 0o077 == 0, f"{file.name} can be read by others"
    connection = read_kubeconfig(layout.kubeconfig("admin").read_text())
    assert connection.server == "https://127.0.0.1:2"
    assert connection.ssl_context().verify_mode is ssl.CERT_REQUIRED
    webhook = yaml.safe_load((layout.folder / "token-webhook.yaml").read_text())
    assert webhook["clusters"][0]["cluster"]["server"] == "http://127.0.0.1:1/review"


def test_keys_are_made_once_and_kept(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys")
    keys.ensure()
    before = {file.name: file.read_bytes() for file in keys.folder.iterdir()}
    Keys(tmp_path / "keys").ensure()
    assert {file.name: file.read_bytes() for file in keys.folder.iterdir()} == before
    (key,) = keys.jwks()["keys"]
    assert (key["kty"], key["alg"], key["use"], key["e"]) == ("RSA", "RS256", "sig", "AQAB")
    assert Keys(tmp_path / "others").folder != keys.folder


def test_a_client_certificate_names_user_and_group_and_is_signed_by_the_ca(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.ensure()
    certificate, _key = keys.client("somebody", "some:group")
    parsed = x509.load_pem_x509_certificate(certificate.encode())
    assert parsed.subject.rfc4514_string() == "O=some:group,CN=somebody"
    parsed.verify_directly_issued_by(x509.load_pem_x509_certificate(keys.ca.read_bytes()))
    assert keys.client("somebody", "some:group")[0] == certificate


def test_ports_are_chosen_once_and_a_damaged_record_is_named(tmp_path: Path, binaries: Binaries) -> None:
    folder = tmp_path / "cluster"
    endpoint = ControlPlane(folder, spec(), binaries).endpoint
    assert ControlPlane(folder, spec(), binaries).endpoint == endpoint
    (folder / "ports.json").write_text("{}")
    with pytest.raises(SandboxError, match=r"ports\.json is damaged"):
        _ = ControlPlane(folder, spec(), binaries).endpoint


def test_a_child_is_logged_recorded_and_ended_also_by_the_next_supervisor(tmp_path: Path) -> None:
    first = Children(tmp_path)
    first.start("sleeper", ["sh", "-c", "echo here; exec sleep 60"], {"sleeper": 7})
    (info,) = first.table()
    assert (info.name, info.ports) == ("sleeper", {"sleeper": 7})
    assert json.loads((tmp_path / "processes.json").read_text())[0]["pid"] == info.pid
    assert first.end_leftovers() == [], "its own are not leftovers"
    end = time.monotonic() + 10
    while first.log_tail("sleeper") != "here":
        assert time.monotonic() < end, "what it writes goes to its log"
        time.sleep(0.01)
    assert Children(tmp_path).end_leftovers() == ["sleeper"]
    assert not first.runs("sleeper")
    assert first.exit_code("sleeper") is not None
    first.stop("sleeper")
    assert not psutil.pid_exists(info.pid)


def test_a_child_has_its_own_home_and_few_environment_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fabricated")
    children = Children(tmp_path)
    children.start("printer", ["sh", "-c", "env | sort"])
    psutil.wait_procs([psutil.Process(process.pid) for process in children.table()], timeout=5)
    names = {line.partition("=")[0] for line in (tmp_path / "logs" / "printer.log").read_text().splitlines()}
    children.stop("printer")
    assert {"HOME", "PATH", "GOGC"} <= names
    assert not [name for name in names if name.startswith("AWS_")]
