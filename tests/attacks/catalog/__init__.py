"""All mutations, by the part of the program that they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attacks.catalog import cluster, gate, identities, jobs, permissions, stores, trusts

if TYPE_CHECKING:
    from tests.attacks.mutation import Mutation

MUTATIONS: list[Mutation] = sorted(
    (each for module in (trusts, identities, permissions, cluster, jobs, stores, gate) for each in module.MUTATIONS),
    key=lambda each: each.attack or "~",
)
BY_NAME = {each.name: each for each in MUTATIONS}
