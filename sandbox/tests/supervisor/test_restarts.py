"""What dies is started again, but not for ever."""

from __future__ import annotations

import itertools

from runner_platform_sandbox.supervisor.restarts import Restarts


def test_the_first_restart_is_at_once_and_later_ones_wait_longer_each_time() -> None:
    restarts = Restarts()
    allowed = [now / 10 for now in range(100) if restarts.due(now / 10)]
    assert allowed[0] == 0.0
    gaps = [later - earlier for earlier, later in itertools.pairwise(allowed)]
    assert gaps == sorted(gaps), "each wait is at least as long as the one before"
    assert gaps[0] >= 0.5


def test_after_five_within_a_minute_it_gives_up_for_good() -> None:
    restarts = Restarts()
    assert sum(restarts.due(now / 10) for now in range(590)) == 5
    assert restarts.given_up
    assert not restarts.due(1_000_000.0), "only a new start of the sandbox tries again"


def test_rare_deaths_never_use_up_the_budget() -> None:
    restarts = Restarts()
    assert all(restarts.due(hour * 3600.0) for hour in range(100))
