"""Contradictions between stack files."""

from __future__ import annotations

from dataclasses import replace

from config import between_stacks, load
from config.capabilities import Capability


def test_the_committed_stack_files_agree() -> None:
    stacks = {stack: load.of_stack(stack) for stack in load.stacks()}
    assert not [
        *between_stacks.account_ids(load.of_foundation(), stacks),
        *between_stacks.runner_tags(stacks),
        *between_stacks.levels(stacks),
        *between_stacks.boundaries(load.of_foundation(), stacks),
    ]


def test_a_stack_of_another_organisation_is_refused_with_both_ids() -> None:
    settings = load.of_stack("dev")
    foreign = settings.organization.model_copy(update={"id": "o-somebodyelse"})
    (problem,) = between_stacks.organizations(load.of_foundation(), {"dev": replace(settings, organization=foreign)})
    assert "dev: organization.id" in str(problem)
    assert "o-somebodyelse" in str(problem)
    assert "o-senncloud01" in str(problem)


def test_an_account_with_two_ids_is_refused_with_both() -> None:
    settings = load.of_stack("dev")
    moved = settings.accounts["dev"].model_copy(update={"id": "555555555555"})
    stacks = {"dev": replace(settings, accounts={**settings.accounts, "dev": moved})}
    (problem,) = between_stacks.account_ids(load.of_foundation(), stacks)
    assert "dev: accounts.dev.id" in str(problem)
    assert "555555555555" in str(problem)
    assert "333333333333" in str(problem)


def test_two_stacks_with_the_same_runner_tag_are_refused() -> None:
    dev = load.of_stack("dev")
    small = dev.runners["small"].model_copy(update={"tag": "small"})
    stacks = {"dev": replace(dev, runners={**dev.runners, "small": small}), "prod": load.of_stack("prod")}
    (problem,) = between_stacks.runner_tags(stacks)
    assert "prod: runners.small.tag" in str(problem)
    assert "dev: runners.small" in str(problem)


def test_two_boundaries_of_an_organisation_are_refused() -> None:
    base, dev = load.of_foundation(), load.of_stack("dev")
    base = replace(base, platform=base.platform.model_copy(update={"boundary": "company/boundary"}))
    assert [*between_stacks.boundaries(base, {"dev": dev})] == [], "a stack without one is the owner's decision"
    dev = replace(dev, platform=dev.platform.model_copy(update={"boundary": "other"}))
    (problem,) = between_stacks.boundaries(base, {"dev": dev})
    assert problem.path == "dev: platform.boundary"


def test_tags_that_select_classes_of_two_stacks_are_refused() -> None:
    dev, prod = load.of_stack("dev"), load.of_stack("prod")
    small = dev.runners["small"].model_copy(update={"tags": ("docker", "small")})
    deploy = prod.runners["deploy"].model_copy(update={"tags": ("docker", "deploy")})
    (problem,) = between_stacks.runner_tags(
        {"dev": replace(dev, runners={**dev.runners, "small": small}), "prod": prod}
    )
    assert (problem.path, "selects" in problem.message) == ("prod: runners.small.tag", True)
    medium = small.model_copy(update={"tags": ("docker", "cheap")})
    stacks = {"dev": replace(dev, runners={"medium": medium}), "prod": replace(prod, runners={"deploy": deploy})}
    (problem,) = between_stacks.runner_tags(stacks)
    assert "is shared with 'dev: runners.medium' of level open" in problem.message


def test_an_account_has_a_capability_for_the_same_level_in_all_stacks() -> None:
    dev, prod = load.of_stack("dev"), load.of_stack("prod")
    account = prod.accounts["dev"].model_copy(update={"open": (), "protected": (Capability.ECS, Capability.STATE)})
    stacks = {"dev": dev, "prod": replace(prod, accounts={**prod.accounts, "dev": account})}
    (problem,) = between_stacks.levels(stacks)
    assert "prod: accounts.dev.protected" in str(problem)
    assert "'ecs'" in str(problem), "state has a prefix for each level, services and their roles have not"
    assert "stack dev" in str(problem)
