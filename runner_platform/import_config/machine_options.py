"""What becomes of each option of `MachineOptions`, which Docker Machine took as `amazonec2-…=…`.

Options are those of the driver amazonec2 in Docker Machine, in GitLab's fork and in that of the CKI project, and the engine's.
Sources: https://gitlab.com/gitlab-org/ci-cd/docker-machine/-/blob/main/docs/drivers/aws.md,
https://gitlab.com/cki-project/docker-machine/-/blob/main/docs/drivers/aws.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from config.redaction import shown
from runner_platform.import_config.answers import Answer, Kind, built_in, none, of_table, setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner_platform.import_config.reading import RunnerSection

KEYS: Final = ("machine.machineoptions", "machine.machineoptionswithname")
"""Keys below `runners` that hold options."""
DRIVER: Final = "amazonec2"
DEFAULT_TYPE: Final = "t2.micro"
"""Instance type of the driver, if no option names one."""
TRUE: Final = frozenset({"", "1", "t", "true"})
"""Values of an option that is on; a bare option is, too."""
_NAME = re.compile(r"-{0,2}([a-z][a-z0-9-]*)")


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a machine."""

    name: str
    """Such as `amazonec2-zone`; empty if the text is no option."""
    value: str


_KEYS_OF_AWS = built_in(
    "a secret, never printed: the manager's role starts instances; delete these keys in IAM when the old runner is gone"
)
_NETWORK = built_in(
    "instances run in the platform's network, in each of its zones, so that one short zone stops nothing; `network.existing` takes subnets of yours"
)
_LOGIN = built_in("no key pair: the manager logs in by EC2 Instance Connect, with a key for each connection")
_ADDRESSES = built_in("instances have private addresses, unless the stack has network.nat: none")
_METADATA = built_in("IMDSv2 with hop limit 1: no container reads the instance's role")
_DISK = built_in("an encrypted gp3 volume")

OPTIONS: Final = of_table(
    "",
    {
        "amazonec2-access-key amazonec2-secret-key amazonec2-session-token": _KEYS_OF_AWS,
        "amazonec2-ami amazonec2-ami-filter amazonec2-ami-owners": setting(
            "Ubuntu 24.04 by a pinned public parameter; `machines.image` names another one"
        ),
        "amazonec2-region": setting("organization.region of the stack file holds for all classes: compare it"),
        "amazonec2-vpc-id amazonec2-zone amazonec2-subnet-id": _NETWORK,
        "amazonec2-security-group amazonec2-security-group-readonly amazonec2-open-port": built_in(
            "the platform makes its own groups: instances admit SSH from their manager and nothing else"
        ),
        "amazonec2-tags": setting("`tags.further` of the stack file tags all resources"),
        "amazonec2-instance-type": none("the class names other types"),
        "amazonec2-device-name": built_in("that of the image"),
        "amazonec2-root-size": none("the class has another disk"),
        "amazonec2-volume-type amazonec2-volume-encrypted amazonec2-volume-kms-key amazonec2-encrypt-ebs-volume amazonec2-kms-key": _DISK,
        "amazonec2-iam-instance-profile": none(
            "jobs never have the instance's role: a job names an AWS profile. Give the permissions of the old role as capabilities of an account (docs/operate/classes-and-accounts.md)"
        ),
        "amazonec2-ssh-user amazonec2-ssh-port amazonec2-ssh-keypath amazonec2-keypair-name": _LOGIN,
        "amazonec2-request-spot-instance": none("false: on demand, as here without spot: true"),
        "amazonec2-spot-price": none("no bid: you pay the market's price, at most that on demand"),
        "amazonec2-block-duration-minutes": none(
            "AWS sells no spot blocks any more; spot: true is refused above longest_job: 1h"
        ),
        "amazonec2-private-address-only amazonec2-use-private-address": _ADDRESSES,
        "amazonec2-monitoring": none(
            "no detailed monitoring of instances; alarms watch the class (alarms.topic, docs/operate/alarms.md)"
        ),
        "amazonec2-use-ebs-optimized-instance amazonec2-ebs-optimized": built_in("instance types of today always are"),
        "amazonec2-retries amazonec2-endpoint amazonec2-insecure-transport amazonec2-insecure": built_in(
            "the AWS SDK's own"
        ),
        "amazonec2-userdata amazonec2-user-data": none(
            "instances start with the platform's own steps alone; bring tools in the image of the job"
        ),
        "amazonec2-metadata-token amazonec2-metadata-token-response-hop-limit amazonec2-http-endpoint amazonec2-http-tokens": _METADATA,
        "amazonec2-use-fleet amazonec2-launch-template": built_in(
            "an Auto Scaling group takes the first type of `instances.types` that EC2 has"
        ),
        "engine-registry-mirror engine-insecure-registry": none(
            "no mirror in Docker's settings; name the mirror in `image:`, or use ECR's pull-through cache"
        ),
        "engine-env engine-label engine-opt": none("Docker's settings are the same for every class"),
        "engine-install-url engine-storage-driver": built_in("Docker of Ubuntu's archive, with its defaults"),
        "swarm swarm-addr swarm-discovery swarm-experimental swarm-host swarm-image swarm-join-opt swarm-master swarm-opt swarm-strategy tls-san": none(
            "instances form no swarm; drop it"
        ),
    },
)


def options_of(section: RunnerSection) -> Iterator[Option]:
    """Yield all options of a runner's machines, in the file's order."""
    for key in KEYS:
        texts = section.value(key, [])
        for text in texts if isinstance(texts, list) else []:
            yield parse(str(text))


def parse(text: str) -> Option:
    """Return the option of a text such as `amazonec2-zone=a`; one without a name if it is none, since it may be a secret."""
    name, equals, value = text.strip().partition("=")
    match = _NAME.fullmatch(name.strip())
    is_option = match is not None and (
        match[1] in OPTIONS or (equals and "-" in match[1] and shown(match[1]) == match[1])
    )
    return Option(name=match[1] if match is not None and is_option else "", value=value.strip())


def answer(option: Option) -> Answer:
    """Return what becomes of an option."""
    if option.name in OPTIONS:
        return OPTIONS[option.name]
    if not option.name:
        return Answer(
            kind=Kind.UNUSED, text="no option of Docker Machine, so it is not printed; write name=value, or drop it"
        )
    if not option.name.startswith((f"{DRIVER}-", "engine-")):
        return none("an option of another cloud's driver; this platform runs on AWS")
    return Answer(kind=Kind.UNUSED, text="no option of Docker Machine that is known here; drop it")
