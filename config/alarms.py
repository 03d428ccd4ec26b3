"""The optional object `alarms`: where the platform's alarms go.

Owns its shape and what it must agree on with the rest. Whether the topic exists, and lets CloudWatch publish, only AWS knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from config.errors import Problem
from config.model import Section, pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.sections import Account, Organization

TopicArn = Annotated[
    str,
    # A FIFO topic has a dot in its name, and takes no e-mail subscription; nobody would hear the alarm.
    pattern(
        r"arn:aws(-us-gov|-cn)?:sns:[a-z0-9-]+:\d{12}:[\w-]{1,256}",
        "is not the ARN of a standard SNS topic; write arn:aws:sns:<region>:<account id>:<name>, as `aws sns list-topics` shows it",
    ),
]
"""The ARN of a standard SNS topic."""


class Alarms(Section):
    """Where alarms go; without a topic there are none, and nothing is installed for them."""

    topic: TopicArn | None = None


def topic(alarms: Alarms, organization: Organization, home: Account | None) -> Iterator[Problem]:
    """An alarm sends to a topic of its own region, and the topic's account is the platform's.

    Args:
        alarms: the object.
        organization: partition and region of everything.
        home: the platform's account; None where it is wrong itself, which is said elsewhere.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
    """
    if alarms.topic is None:
        return
    _, partition, _, region, account, name = alarms.topic.split(":")
    owner = home.id if home else account
    needed = f"arn:{organization.partition}:sns:{organization.region}:{owner}:{name}"
    if (partition, region) != (organization.partition, organization.region):
        yield Problem(
            path="alarms.topic",
            message=f"{alarms.topic!r} is in {partition}, region {region!r}; the platform's alarms are in {organization.partition}, "
            f"{organization.region!r}, and send to topics of their own region only: make {needed}",
        )
    if account != owner:
        yield Problem(
            path="alarms.topic",
            message=f"{alarms.topic!r} belongs to account {account}, and the platform lives in {owner}: make {needed}, "
            "and subscribe whoever listens in the other account to it",
        )
