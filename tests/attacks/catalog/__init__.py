"""All mutations, by the part of the program that they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attacks.catalog import (
    cluster,
    gate,
    identities,
    jobs,
    machines,
    permissions,
    releases,
    stores,
    strangers,
    trusts,
)

if TYPE_CHECKING:
    from tests.attacks.mutation import Mutation

MUTATIONS: list[Mutation] = sorted(
    (
        mutation
        for module in (trusts, identities, permissions, cluster, jobs, releases, machines, stores, strangers, gate)
        for mutation in module.MUTATIONS
    ),
    key=lambda mutation: mutation.attack or "~",
)
BY_NAME = {mutation.name: mutation for mutation in MUTATIONS}
