"""The planned attempts of stacks with classes on machines, and the stacks that a proof finds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from config import load
from runner_platform.prove import attempts, strangers, targets
from runner_platform.prove.attempts import REFUSED, Attempt, Place, Sdk, Way
from runner_platform.prove.refusals import OWN_ROLE
from runner_platform.prove.strangers_on_machines import MACHINE
from runner_platform.prove.targets import NotDeployedError
from tests.support.api_server import ApiServerStandIn
from tests.support.machine_stack import Ec2, mixed_stack, small_stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.settings import Settings

ACCOUNTS = load.of_foundation().accounts
SMALL, MIXED, PROD = small_stack(), mixed_stack(), load.of_stack("prod")
HOME = SMALL.platform_account.id
STACKS = pytest.mark.parametrize("settings", [SMALL, MIXED], ids=["without a cluster", "mixed"])


def planned(settings: Settings, neighbours: Sequence[Settings] = ()) -> list[Attempt]:
    everything = attempts.Scope.of(everything=True)
    return [
        *attempts.of_classes(settings, ACCOUNTS, everything),
        *strangers.of_stack(settings, ACCOUNTS, neighbours),
    ]


def asks(settings: Settings, caller: str) -> dict[str, str]:
    """Return what a stranger gets, by profile."""
    return {attempt.profile: attempt.expected for attempt in planned(settings) if attempt.caller == caller}


def test_jobs_of_every_executor_are_tried_by_every_profile_sdk_and_way() -> None:
    tried = Counter(attempt.caller for attempt in planned(SMALL) if attempt.runner_class is not None)
    each = len(Sdk) * (1 + 2 * (1 + len(ACCOUNTS)))
    assert tried == {"machine/small": each, "machine/medium": each}
    assert {attempt.caller for attempt in planned(MIXED) if attempt.runner_class} >= {"jobs-small/job", "machine/spare"}


@STACKS
@pytest.mark.parametrize("neighbours", [[], [PROD], [SMALL]], ids=["alone", "beside pods", "beside machines"])
def test_a_key_identifies_one_attempt_and_every_refusal_has_a_control(
    settings: Settings, neighbours: list[Settings]
) -> None:
    plan = planned(settings, [] if neighbours == [settings] else neighbours)
    by_key = {attempt.key: attempt for attempt in plan}
    assert len(by_key) == len(plan)
    for attempt in plan:
        if attempt.expected == REFUSED:
            assert attempt.refusal_kinds, attempt
            assert attempt.control is not None, attempt
            assert by_key[attempt.control].expected != REFUSED, attempt.key


def test_a_machine_asks_for_each_role_but_that_of_its_own_jobs() -> None:
    refused = {
        "cicd/delegated-role-open-small",
        "dev/delegated-role-open-small",
        "runner-medium-small",
        "runner-manager-medium-small",
        "runner-worker-medium-small",
    }
    role = f"arn:aws:iam::{HOME}:role/cicd-small/runner-manager-small-small"
    assert asks(SMALL, "machine/small, the machine itself") == {OWN_ROLE: role, **dict.fromkeys(refused, REFUSED)}


def test_the_manager_of_an_autoscaled_class_may_not_become_its_jobs() -> None:
    manager = asks(SMALL, "machine/medium, the manager itself")
    assert manager["runner-medium-small"] == REFUSED
    assert manager[OWN_ROLE].endswith("/runner-manager-medium-small")
    machine = asks(SMALL, "machine/medium, the machine itself")
    assert "runner-medium-small" not in machine
    assert machine["runner-manager-medium-small"] == REFUSED
    assert machine[OWN_ROLE].endswith("/runner-worker-medium-small")


def test_a_job_asks_for_the_roles_of_machines_and_of_other_jobs() -> None:
    roles = set(asks(SMALL, "machine/small with a profile of its own"))
    names = {"runner-medium-small", "runner-manager-small-small", "runner-manager-medium-small"}
    assert {*names, "runner-worker-medium-small"} <= roles
    assert "runner-small-small" not in roles, "its own role"
    assert {f"{account}/platform-deployer" for account in ACCOUNTS} <= set(
        asks(SMALL, "machine/medium with a profile of its own")
    ), "as the first class of its level"
    assert "node" not in roles, "there is no cluster"


def test_a_pod_asks_for_the_roles_of_machines_and_a_machine_for_those_of_pods() -> None:
    pod = asks(MIXED, "jobs-small/job with a profile of its own")
    assert {"runner-spare-dev", "runner-worker-spare-dev", "runner-manager-spare-dev"} <= set(pod)
    assert {"runner-small-dev", "runner-deploy-dev"} <= set(asks(MIXED, "machine/spare, the machine itself"))


@STACKS
def test_containers_and_jobs_of_each_machine_ask_for_its_credentials(settings: Settings) -> None:
    plan = planned(settings)
    for name in settings.machine_classes:
        job = next(attempt for attempt in plan if attempt.caller == f"machine/{name} with the machine's credentials")
        assert (job.identity.place, job.profile) == (Place.JOB, MACHINE)
        assert "credential_source = Ec2InstanceMetadata" in job.identity.profiles
        beside = next(attempt for attempt in plan if attempt.caller == f"machine/{name}, another container")
        assert (beside.identity.place, beside.way, beside.identity.profiles) == (Place.BESIDE, Way.DEFAULT, "")
        assert job.refusal_kinds == beside.refusal_kinds == {"NoCredentials"}


@pytest.mark.parametrize(
    ("settings", "neighbour", "stack"),
    [(SMALL, PROD, "prod"), (SMALL, MIXED, "dev"), (MIXED, SMALL, "small")],
    ids=["pods beside machines", "both beside machines", "machines beside pods"],
)
def test_jobs_of_a_neighbour_ask_from_their_own_role(settings: Settings, neighbour: Settings, stack: str) -> None:
    group = [attempt for attempt in planned(settings, [neighbour]) if attempt.group == f"jobs of stack {stack}"]
    assert {attempt.identity.stack for attempt in group} == {stack}
    controls = {attempt.caller for attempt in group if attempt.expected != REFUSED}
    assert len(controls) == len(neighbour.runners)
    delegated = {
        f"cicd/{settings.names.delegated_role(level)}" for level in {r.level for r in settings.runners.values()}
    }
    assert delegated <= {attempt.profile for attempt in group}


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Settings]:
    """Stacks by name; EC2 has the templates of all of them, and every cluster exists."""
    stacks = {"small": SMALL, "dev": MIXED}
    ec2 = Ec2(stacks.values())
    session = type("Session", (), {"client": lambda _self, _service: ec2})()
    monkeypatch.setattr(targets.deployed_machines, "session_of", lambda _settings: session)
    monkeypatch.setattr(targets.Cluster, "of", lambda settings: ApiServerStandIn(settings.stack))
    monkeypatch.setattr(targets.load, "stacks", lambda: list(stacks))
    monkeypatch.setattr(targets.stacks, "settings_of", stacks.__getitem__)
    return stacks


def find(settings: Settings) -> tuple[targets.Targets, str]:
    said: list[str] = []
    found = targets.find(settings, said.append)
    return found, "\n".join(said)


@pytest.mark.usefixtures("deployed")
def test_a_stack_without_a_cluster_asks_no_cluster_of_its_own() -> None:
    found, said = find(SMALL)
    assert (found.cluster, found.problems) == (None, {})
    assert {key for key in found.machines if key[0] == "small"} == {("small", "small"), ("small", "medium")}
    assert ("dev", "small") in found.pods, "its neighbour's jobs use their own config"
    assert "target: class medium on instances of runner-medium-workers-small and runner-medium-small" in said
    assert found.neighbours == [MIXED]


@pytest.mark.usefixtures("deployed")
def test_a_mixed_stack_has_both_kinds() -> None:
    found, said = find(MIXED)
    assert found.cluster is not None
    assert {key for key in found.classes if key[0] == "dev"} == {("dev", name) for name in MIXED.runners}
    assert "target: cluster stand-in" in said


def test_a_missing_cluster_breaks_the_classes_on_it_alone(
    deployed: dict[str, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets.Cluster, "of", lambda _settings: None)
    found, said = find(deployed["dev"])
    assert set(found.machines) >= {("dev", "spare")}
    assert "no cluster runner-platform-dev; `pulumi up -s dev` creates it" in found.problems["dev", "small"]
    assert said.count("cluster") == 0


def test_a_stack_without_templates_is_not_deployed(
    deployed: dict[str, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = type("Session", (), {"client": lambda _self, _service: Ec2([])})()
    monkeypatch.setattr(targets.deployed_machines, "session_of", lambda _settings: nothing)
    with pytest.raises(
        NotDeployedError, match=r"stack small is not deployed: account cicd \(222222222222\) has no launch template"
    ):
        find(deployed["small"])
    _, said = find(deployed["dev"])
    assert "jobs of stack small are not tried as strangers: it is not deployed" in said


def test_one_missing_template_is_a_problem_of_its_class(
    deployed: dict[str, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    ec2 = Ec2([SMALL])
    del ec2.templates["runner-small-small"]
    session = type("Session", (), {"client": lambda _self, _service: ec2})()
    monkeypatch.setattr(targets.deployed_machines, "session_of", lambda _settings: session)
    found, _ = find(deployed["small"])
    assert set(found.machines) == {("small", "medium")}
    assert "runner-small-small is missing" in found.problems["small", "small"]
