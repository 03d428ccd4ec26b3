"""Names, tables and manifests in the documentation agree with the code."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from components.documents import job_identity, pods
from components.documents.config_toml import config_template
from components.documents.disruption import disruption
from components.documents.network_policies import dns_address
from config import load
from config.names import helm_release, namespace_jobs
from config.quantities import duration_text, parse_duration
from config.runner_checks import POOLS_OF_EKS
from config.sections import RESERVED_NAMES
from runner_platform.cli.main import COMMANDS

DOCS = load.ROOT / "docs"
PAGES = [
    load.ROOT / "README.md",
    *sorted(load.ROOT.glob("[!R]*.md")),
    *sorted(DOCS.rglob("*.md")),
    load.ROOT / "sandbox" / "README.md",
    *sorted((load.ROOT / "sandbox" / "docs").glob("*.md")),
]
MADE_BY_READERS = {"policies/config.json"}
CLASSES = (DOCS / "use" / "runner-classes.md").read_text()
ADD_CLASS = (DOCS / "operate" / "classes-and-accounts.md").read_text()
SETTINGS = (DOCS / "reference" / "settings.md").read_text()
FIRST_CLUSTER = (DOCS / "operate" / "first-real-cluster.md").read_text()
TOKENS = (DOCS / "operate" / "gitlab-tokens.md").read_text()


def _rows(text: str, first: str) -> list[list[str]]:
    """Return the cells of the table with this first header cell, row by row."""
    table = text[text.index(f"| {first} |") :].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in table]


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_existing_files_and_headings(page: Any) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked_file = (page.parent / path).resolve() if path else page
        assert linked_file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in _anchors(linked_file.read_text()), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Any) -> None:
    folders = "|".join(path.name for path in load.ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
    for path in re.findall(
        rf"`((?:{folders})/[\w./*-]+)`", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    ):
        assert path in MADE_BY_READERS or list(load.ROOT.glob(path.rstrip("/"))), f"{page.name} names {path}"


def test_the_readme_stays_short_and_every_decision_shorter() -> None:
    assert len(PAGES[0].read_text().splitlines()) < 130
    for page in (DOCS / "adr").glob("0*.md"):
        text = page.read_text()
        assert len(text.splitlines()) < 30, page.name
        assert all(f"**{part}" in text for part in ("Context", "Decision", "Consequence")), page.name


def test_the_index_leads_to_every_page() -> None:
    index = (DOCS / "README.md").read_text()
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} - {"README.md"}
    assert {page for page in pages if not page.startswith("adr/")} <= set(re.findall(r"\]\(([^)]+)\)", index))


def test_the_index_of_decisions_lists_every_decision_by_its_title() -> None:
    rows = _rows((DOCS / "adr" / "README.md").read_text(), "number")
    decisions = sorted((DOCS / "adr").glob("0*.md"))
    assert [(row[0], row[1]) for row in rows] == [
        (f"[{number}]({page.name})", page.read_text().splitlines()[0].removeprefix(f"# {number}. "))
        for number, page in enumerate(decisions, start=1)
    ]


def test_reserved_names_are_listed() -> None:
    sentence = re.search(r"Names are 2 to 16 .*", ADD_CLASS)
    assert sentence is not None
    assert set(re.findall(r"`(\w+)`", sentence[0])) == {*RESERVED_NAMES, *POOLS_OF_EKS}


@pytest.mark.parametrize("row", _rows(SETTINGS, "longest job"), ids=lambda row: row[0])
def test_the_table_of_times_agrees_with_the_computed_times(row: list[str]) -> None:
    times = disruption(parse_duration(row[0]))
    derived = (times.gitlab_timeout, times.manager_grace, times.node_grace, times.expire_after, times.delete_timeout)
    assert row[1:] == [duration_text(seconds) for seconds in derived]


def test_the_classes_of_prod_are_listed_with_the_accounts_that_they_enter() -> None:
    settings = load.of_stack("prod")
    listed = {
        row[0].strip("`"): (row[1], [] if row[3] == "none" else re.findall(r"`(\w+)`", row[3]))
        for row in _rows(CLASSES, "tag")
    }
    assert listed == {
        settings.names.tag(name): (runner.level.value, list(settings.accounts_of(name)))
        for name, runner in settings.runners.items()
    }


def test_the_probe_of_the_first_cluster_is_like_a_job_pod() -> None:
    settings = load.of_stack("dev")
    probe = yaml.safe_load(FIRST_CLUSTER.split("<<'YAML'\n")[1].split("\nYAML\n")[0])
    spec, expected = probe["spec"], config_template(settings.runner_class("small"))["runners"][0]["kubernetes"]
    assert probe["metadata"]["namespace"] == namespace_jobs("small") == expected["namespace"]
    assert probe["metadata"]["labels"] == expected["pod_labels"]
    assert spec["serviceAccountName"] == expected["service_account"]
    assert spec["automountServiceAccountToken"] is expected["automount_service_account_token"] is False
    assert spec["nodeSelector"] == expected["node_selector"]
    assert {
        f"{toleration['key']}={toleration['value']}": toleration["effect"] for toleration in spec["tolerations"]
    } == expected["node_tolerations"]
    patch, build = job_identity.pod_patch(), spec["containers"][0]
    assert spec["volumes"] == patch["volumes"]
    assert {key: build[key] for key in patch["containers"][0]} == patch["containers"][0]
    assert build["resources"]["requests"] == {
        "cpu": expected["cpu_request"],
        "memory": expected["memory_request"],
        "ephemeral-storage": expected["ephemeral_storage_request"],
    }
    assert build["securityContext"]["capabilities"]["drop"] == expected["cap_drop"]


def test_the_page_on_the_first_cluster_uses_the_names_of_the_stack() -> None:
    settings = load.of_stack("dev")
    names, home, target = settings.names, settings.platform_account.id, settings.accounts["dev"].id
    level = settings.runners["small"].level
    for name in (
        names.cluster,
        names.role_arn(home, names.node_role()),
        names.role_arn(home, "delegated-role-dev"),
        f"arn:aws:sts::{home}:assumed-role/{names.job_role('small')}/{names.job_role('small')}",
        f"arn:aws:sts::{target}:assumed-role/{names.delegated_role(level)}/{names.job_role('small')}",
        names.cache_bucket(home),
        helm_release("small"),
        f"{names.repository_prefix(level)}apps",
        f"/{names.state_prefix(level)}",
        pods.CLASS_LABEL,
        dns_address(settings.cluster.service_cidr),
        f"`{disruption(settings.runners['small'].longest_job).manager_grace}`",
    ):
        assert name in FIRST_CLUSTER, name


def test_commands_that_the_pages_name_exist() -> None:
    for page in PAGES:
        mentions = re.findall(r"(?:`|^)runner-platform (\w[\w-]*)", page.read_text(), re.MULTILINE)
        assert set(mentions) <= set(COMMANDS) | {"kube-token", "sandbox"}, page.name
