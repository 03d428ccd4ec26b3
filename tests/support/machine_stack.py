"""Stacks with classes on EC2 machines, and EC2's answers about their launch templates as the platform deploys them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from components.documents.machines import launch, user_data
from config.runners import DockerRunner
from runner_platform.prove import deployed_machines
from runner_platform.prove.attempts import Place
from tests.support.program import parsed, raw

if TYPE_CHECKING:
    from collections.abc import Iterable

    from config.settings import Settings

RUNNERS: dict[str, dict[str, Any]] = {
    "small": {"executor": "docker", "level": "open", "instance": "t3.small", "concurrent": 2, "longest_job": "1h"},
    "medium": {
        "executor": "docker-autoscaler",
        "level": "open",
        "instances": {"types": ["m7i.large", "m6i.large"]},
        "max_instances": 4,
        "longest_job": "1h",
    },
}


def small_stack(runners: dict[str, dict[str, Any]] | None = None) -> Settings:
    """Return the settings of a stack without a cluster, by default with a class of one machine and an autoscaled one."""
    values = raw("dev")
    for key in ("cluster", "chart", "alarms"):
        values.pop(key, None)
    values["runners"] = runners or RUNNERS
    values["network"] = {"cidr": "10.42.0.0/16", "zones": 2, "nat": "none"}
    settings: Settings = parsed(values, "small")
    return settings


def mixed_stack() -> Settings:
    """Return the settings of stack dev with an autoscaled class beside its classes on Kubernetes."""
    values = raw("dev")
    values["runners"]["spare"] = RUNNERS["medium"]
    settings: Settings = parsed(values, "dev")
    return settings


class Ec2:
    """Answers for the launch templates of stacks, which a test may change."""

    def __init__(self, stacks: Iterable[Settings]) -> None:
        self.templates = {
            group: template_data(settings, name, place)
            for settings in stacks
            for name in settings.machine_classes
            for place, group in deployed_machines.groups(settings, name).items()
        }

    def describe_launch_template_versions(self, *, LaunchTemplateName: str, Versions: list[str]) -> dict[str, Any]:  # noqa: N803  # AWS's names
        assert Versions == ["$Latest"]
        data = self.templates.get(LaunchTemplateName)
        if data is None:
            code = "InvalidLaunchTemplateName.NotFoundException"
            raise ClientError({"Error": {"Code": code, "Message": ""}}, "DescribeLaunchTemplateVersions")
        return {"LaunchTemplateVersions": [{"LaunchTemplateData": data}]}

    def edit(self, template: str, old: str, new: str) -> None:
        """Change the text of a template's user data."""
        text = user_data.decoded(self.templates[template]["UserData"])
        assert old in text
        self.templates[template]["UserData"] = user_data.encoded(text.replace(old, new))


def template_data(settings: Settings, name: str, place: Place) -> dict[str, Any]:
    """Return the data of a class's launch template, as far as `prove` reads it."""
    runner_class = settings.machine_classes[name]
    worker = place is Place.HOST and not isinstance(runner_class.runner, DockerRunner)
    text = user_data.worker_user_data(runner_class) if worker else user_data.manager_user_data(runner_class)
    options = launch.METADATA_OPTIONS
    return {
        "UserData": text,
        "MetadataOptions": {
            "HttpEndpoint": options["http_endpoint"],
            "HttpTokens": options["http_tokens"],
            "HttpPutResponseHopLimit": options["http_put_response_hop_limit"],
        },
    }
