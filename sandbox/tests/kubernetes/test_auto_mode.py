"""What EKS adds to Karpenter's definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from runner_platform_sandbox.kubernetes import auto_mode

if TYPE_CHECKING:
    from pathlib import Path

UPSTREAM_RULE = {"rule": "true", "message": "upstream"}


def node_spec() -> dict[str, Any]:
    key = {"type": "string", "x-kubernetes-validations": [UPSTREAM_RULE]}
    return {
        "properties": {
            "nodeClassRef": {"type": "object"},
            "expireAfter": {"type": "string", "default": "720h"},
            "requirements": {"items": {"properties": {"key": key}}},
        }
    }


def definition(plural: str, spec: dict[str, Any]) -> str:
    version = {"name": "v1", "schema": {"openAPIV3Schema": {"properties": {"spec": spec}}}}
    return yaml.safe_dump({"metadata": {"name": f"{plural}.karpenter.sh"}, "spec": {"versions": [version]}})


@pytest.fixture
def specs(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The schema of each kind's spec, by name of its definition."""
    template = {"properties": {"metadata": {"properties": {"labels": {"type": "object"}}}, "spec": node_spec()}}
    pool = {"properties": {"template": template}}
    (tmp_path / "karpenter.sh_nodepools.yaml").write_text(definition("nodepools", pool))
    (tmp_path / "karpenter.sh_nodeclaims.yaml").write_text(definition("nodeclaims", node_spec()))
    return {
        crd["metadata"]["name"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        for crd in auto_mode.definitions(tmp_path)
    }


def messages(schema: dict[str, Any]) -> str:
    return "; ".join(rule["message"] for rule in schema["x-kubernetes-validations"])


def test_auto_mode_installs_three_kinds(specs: dict[str, dict[str, Any]]) -> None:
    assert set(specs) == {"nodepools.karpenter.sh", "nodeclaims.karpenter.sh", "nodeclasses.eks.amazonaws.com"}


def test_nodes_of_auto_mode_live_two_weeks_by_default_and_three_at_most(specs: dict[str, dict[str, Any]]) -> None:
    pool = specs["nodepools.karpenter.sh"]["properties"]["template"]["properties"]["spec"]
    for spec in (pool, specs["nodeclaims.karpenter.sh"]):
        assert spec["properties"]["expireAfter"]["default"] == "336h"
        assert "at most 21 days" in messages(spec["properties"]["expireAfter"])
        assert "kind 'NodeClass' only" in messages(spec["properties"]["nodeClassRef"])


def test_rules_of_eks_are_added_to_those_of_karpenter(specs: dict[str, dict[str, Any]]) -> None:
    template = specs["nodepools.karpenter.sh"]["properties"]["template"]["properties"]
    key = template["spec"]["properties"]["requirements"]["items"]["properties"]["key"]
    assert messages(key) == 'upstream; label domain "kubernetes.io" is restricted'
    assert messages(template["metadata"]["properties"]["labels"]) == 'label domain "kubernetes.io" is restricted'
