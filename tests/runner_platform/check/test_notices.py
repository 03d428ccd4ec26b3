"""Notices: what `check` warns of ahead of time, and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from config import load
from config.versions import KUBERNETES_SUPPORT_ENDS
from runner_platform.check.notices import notices, quota
from tests.support.certificate import certificate


def notices_text(version: str, today: date) -> str:
    settings = load.of_stack("prod")
    settings = replace(settings, cluster=settings.cluster.model_copy(update={"version": version}))
    return "\n".join(notices(settings, today))


ENDS = KUBERNETES_SUPPORT_ENDS["1.35"]


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        (date(2026, 11, 21), None),
        (date(2027, 1, 25), None),
        (date(2027, 1, 27), "in 59 days"),
        (date(2027, 3, 27), "in 0 days"),
        (date(2027, 3, 28), "standard support ended on 2027-03-27"),
    ],
)
def test_the_end_of_kubernetes_support_is_announced_sixty_days_ahead(today: date, expected: str | None) -> None:
    text = notices_text("1.35", today)
    assert ("cluster.version 1.35" in text) is (expected is not None)
    assert (expected or "") in text


def test_an_old_token_asks_to_be_rotated_by_one_generation() -> None:
    settings = load.of_stack("prod")
    small = settings.runners["small"].model_copy(update={"token_created": "2026-01-01", "token": 3})
    settings = replace(settings, runners={**settings.runners, "small": small})
    text = "\n".join(notices(settings, date(2026, 11, 21)))
    assert "runners.small.token: generation 3 is 324 days old" in text
    assert "raise token to 4" in text
    assert "runners.small.token" not in "\n".join(notices(settings, date(2026, 5, 1))), (
        "a token of four months is not old"
    )


def test_a_certificate_that_ends_soon_is_named() -> None:
    settings = load.of_stack("prod")
    gitlab = settings.gitlab.model_copy(update={"ca_bundle": certificate("gitlab.example.com")})
    settings = replace(settings, gitlab=gitlab)
    today = datetime.now(UTC).date()  # the test's certificate is made now, for a day
    assert "gitlab.ca_bundle: certificate CN=gitlab.example.com ends on" in "\n".join(notices(settings, today))
    assert "gitlab.ca_bundle" not in "\n".join(notices(settings, today - timedelta(days=80)))


def test_a_chart_with_another_runner_asks_for_its_helper_image() -> None:
    settings = load.of_stack("prod")
    assert "helper image" not in "\n".join(notices(settings, date(2026, 11, 21))), (
        "the committed chart is the pinned one"
    )
    newer = replace(settings, chart=settings.chart.model_copy(update={"version": "0.94.0"}))
    text = "\n".join(notices(newer, date(2026, 11, 21)))
    assert "chart.version 0.94.0: the helper image of deploy belongs to the runner of chart 0.93" in text


def test_the_quota_of_full_load_counts_every_class_and_the_managers() -> None:
    settings = load.of_stack("prod")
    without = replace(settings, runners={name: runner for name, runner in settings.runners.items() if name != "big"})
    assert quota(settings) != quota(without), "a class at full load needs vCPUs of its own"
    assert "up to 80 on spot" in quota(settings)


def test_the_quota_of_full_load_counts_machines() -> None:
    # A machine of docker overlaps with its successor (twice 2 vCPUs), a manager has 2, and four spot instances have 2 each.
    assert "up to 6 vCPUs on demand, and up to 8 on spot" in quota(load.of_stack("small"))
