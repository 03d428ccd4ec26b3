"""From an empty organisation to the first `up`, with a bootstrap that was killed half way, and on to one account more."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from config import load
from tests.support.small_repository import git

if TYPE_CHECKING:
    from tests.support.company import Company

pytestmark = pytest.mark.sandbox
pytest_plugins = ["tests.support.company"]
PLACES = 1 + len(load.stacks())
"""Places that a bootstrap makes in the bucket: one a program stack, and the foundation's."""
BUCKET = "o-senncloud01-state-111111111111-eu-central-1"
STATE = f"s3://{BUCKET}/platform/.pulumi/stacks/runner-platform-foundation/foundation.json"


def aws(company: Company, *arguments: str) -> Any:
    done = company.sandbox.run(["aws", *arguments, "--output", "json"], company.variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "null")


def test_a_dry_run_makes_every_check_and_changes_nothing(company: Company) -> None:
    dry = company.runs["dry"]
    assert dry.returncode == 0, dry.stderr
    output = dry.stderr
    assert output.startswith(
        "target: the sandbox, organisation o-senncloud01, region eu-central-1, accounts admin 111111111111"
    )
    for account in ("admin", "cicd", "dev", "prod"):
        assert f"fine     foundation-{account}: arn:aws:sts::" in output
    assert f"fine     bucket {BUCKET}: free for admin" in output
    assert "fine     organisation: o-senncloud01" in output
    assert "warning  organisation trail: there is no trail of all regions" in output
    assert "unknown  quota L-1216C47A" in output, "the sandbox has no quotas, and says so instead of inventing some"
    assert output.count("to do ") == PLACES
    assert "nothing was changed (--dry-run)" in output


def test_a_killed_bootstrap_continues_and_makes_nothing_twice(company: Company) -> None:
    resumed = company.runs["resumed"]
    assert resumed.returncode == 0, resumed.stderr
    output = resumed.stdout + resumed.stderr
    assert "found: " in output, "the driver says what the killed run had left"
    assert "the local state is put away" in output
    for account in ("admin", "cicd", "dev", "prod"):
        profile = ("--profile", f"foundation-{account}")
        buckets = [bucket["Name"] for bucket in aws(company, "s3api", "list-buckets", *profile)["Buckets"]]
        assert len([name for name in buckets if "-state-" in name]) == 1
        aliases = aws(company, "kms", "list-aliases", *profile)["Aliases"]
        keys = aws(company, "kms", "list-keys", *profile)["Keys"]
        own = [alias for alias in aliases if alias["AliasName"].startswith("alias/cicd-platform/")]
        assert len(keys) == len(own), "a key without an alias would be one that a killed run made a second time"


def test_the_state_is_in_the_new_bucket_encrypted_by_the_new_key(company: Company) -> None:
    file = company.folder / "state.json"
    aws(company, "s3", "cp", STATE, str(file), "--profile", "foundation-admin", "--only-show-errors")
    checkpoint = json.loads(file.read_text())["checkpoint"]
    latest = checkpoint.get("latest") or checkpoint["Latest"]
    assert latest["secrets_providers"]["type"] == "cloud"
    assert latest["secrets_providers"]["state"]["url"].startswith("awskms://alias/cicd-platform/secrets?")
    urns = Counter(entry["urn"] for entry in latest["resources"])
    assert len(urns) > 80
    assert max(urns.values()) == 1
    assert not latest.get("pending_operations")
    assert not (company.work / "state").exists(), "the local state is put away"
    assert list(company.work.glob("moved-*"))


def test_the_stack_files_name_the_key_and_keep_everything_else(company: Company) -> None:
    changed = git(company.clone, "diff", "--unified=0", "--", "*.yaml")
    lines = [line for line in changed.splitlines() if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    assert {line.split(":")[0] for line in lines} == {"-encryptionsalt", "+secretsprovider", "+encryptedkey"}
    for file in ("foundation/Pulumi.foundation.yaml", "Pulumi.dev.yaml", "Pulumi.prod.yaml"):
        document = yaml.safe_load((company.clone / file).read_text())
        assert document["secretsprovider"].startswith(
            "awskms://alias/cicd-platform/secrets?region=eu-central-1&profile="
        )
    assert company.command("check").returncode == 0


def test_another_run_finds_everything_done(company: Company) -> None:
    again = company.runs["again"]
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("  done     ") == PLACES
    assert "  now " not in again.stderr


def test_a_trail_of_the_organisation_is_found(company: Company) -> None:
    aws(company, "s3api", "create-bucket", "--bucket", "o-senncloud01-trail", "--profile", "management",
        "--create-bucket-configuration", "LocationConstraint=eu-central-1")  # fmt: skip
    aws(company, "cloudtrail", "create-trail", "--name", "organisation", "--s3-bucket-name", "o-senncloud01-trail",
        "--is-organization-trail", "--is-multi-region-trail", "--profile", "management")  # fmt: skip
    assert "fine     organisation trail: arn:aws:cloudtrail:" in company.bootstrap("--dry-run").stderr


def test_a_wrong_account_id_stops_everything(company: Company) -> None:
    files = ["foundation/Pulumi.foundation.yaml", *(f"Pulumi.{stack}.yaml" for stack in load.stacks())]
    for file in files:
        path = company.clone / file
        path.write_text(path.read_text().replace('"333333333333"', '"333333333330"'))
    try:
        done = company.bootstrap()
    finally:
        for file in files:
            path = company.clone / file
            path.write_text(path.read_text().replace('"333333333330"', '"333333333333"'))
    assert done.returncode == 1
    assert "problem  foundation-dev: it opens account 333333333333, and accounts.dev.id is 333333333330" in done.stderr
    assert "nothing was made; in the way: foundation-dev" in done.stderr


def test_a_persons_static_key_is_refused_and_the_sandboxs_is_not(company: Company) -> None:
    credentials = company.folder / "credentials"
    credentials.write_text("[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = x\n")
    done = company.command("bootstrap", "--dry-run", AWS_SHARED_CREDENTIALS_FILE=str(credentials))
    assert done.returncode == 1
    assert "static AWS keys are refused" in done.stderr
    assert "AKIA" not in done.stderr


def test_the_first_up_works_with_plain_pulumi(company: Company) -> None:
    done = company.pulumi("up", "--yes", "--skip-preview", "--stack", "dev")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    again = company.pulumi("preview", "--expect-no-changes", "--stack", "dev")
    assert again.returncode == 0, again.stdout[-3000:]


def test_the_deployer_restores_a_lost_state_by_the_printed_commands(company: Company) -> None:
    state = STATE.replace("-foundation/foundation.json", "/dev.json")
    aws(company, "s3", "rm", state, "--profile", "platform-admin", "--only-show-errors")
    backend = company.command("backend").stdout.strip()
    lost = company.command("up", "--stack", "dev", PULUMI_BACKEND_URL=backend)
    assert lost.returncode == 1
    listing, fetching, putting = [line.strip() for line in lost.stderr.splitlines() if line.strip().startswith("aws ")]
    version = ""
    for line in (listing, fetching, putting):
        typed = line.replace("<the newest that is whole>", version)
        done = company.sandbox.run(["sh", "-c", typed], company.variables, company.folder)
        assert done.returncode == 0, done.stderr
        version = version or done.stdout.split()[0]
    again = company.pulumi("preview", "--expect-no-changes", "--stack", "dev")
    assert again.returncode == 0, again.stdout[-3000:]


def test_a_further_account_admits_the_open_classes_as_the_page_says(company: Company) -> None:
    """docs/operate/classes-and-accounts.md, "Add an account"."""
    added = {
        "foundation/Pulumi.foundation.yaml": ('    prod: {id: "444444444444"}', ""),
        "Pulumi.dev.yaml": ('    dev: {id: "333333333333", open: [ecs, api-gateway, state]}', ", open: [ecs, state]"),
    }
    for file, (line, levels) in added.items():
        text = (company.clone / file).read_text()
        assert line in text
        (company.clone / file).write_text(text.replace(line, f'{line}\n    staging: {{id: "555555555555"{levels}}}'))
    started = company.command("sandbox", "start")
    assert started.returncode == 0, started.stderr
    for stack, options in (("foundation", ["--foundation"]), ("dev", [])):
        backend = company.command("backend", *options).stdout.strip()
        done = company.command("up", "--stack", stack, PULUMI_BACKEND_URL=backend)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    proven = company.command("prove", "--stack", "dev", "--json", PULUMI_BACKEND_URL=backend)
    assert proven.returncode == 0, proven.stderr
    attempts = [cell for cell in json.loads(proven.stdout) if cell["profile"] == "staging" and cell["class"]]
    entered = {attempt["class"] for attempt in attempts if attempt["got"] != "REFUSED"}
    assert entered == {"small", "medium", "big"}, "open classes that have accounts"
    assert {attempt["class"] for attempt in attempts} - entered == {"deploy", "review"}
    assert all(attempt["ok"] for attempt in attempts)
