"""What the pack knows besides resources: the stack, its settings, and which documents cannot be known yet.

Owns the one place where the pack asks for settings; `config.load` reads them. Leaves out what rules do with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import pulumi

from config import foundation, load
from config import settings as platform
from config.settings import Settings
from policies.engine_messages import AnalyzedResources
from policies.fields import holds_unknown
from policies.type_tokens import OIDC_PROVIDER, ROLE

if TYPE_CHECKING:
    from config.foundation import FoundationSettings
    from policies.engine_messages import Seen


@dataclass(frozen=True, kw_only=True)
class StackRun:
    """One run of the engine on one stack."""

    settings: Settings | FoundationSettings
    stack: str
    project: str
    dry_run: bool = False
    """Whether this is a preview, where values may be unknown."""
    memory: AnalyzedResources = field(default_factory=AnalyzedResources)

    @property
    def runners(self) -> Settings | None:
        """Settings of the platform; None in the foundation, which has no runner classes."""
        return self.settings if isinstance(self.settings, Settings) else None

    @property
    def account_ids(self) -> dict[str, str]:
        """Ids of the organisation's accounts by name, as far as the stack names them."""
        return {name: account.id for name, account in self.settings.accounts.items()}

    def may_defer(self, resource: Seen, path: str) -> bool:
        """Whether a field may wait for the deployed state: it holds the issuer of a cluster that this preview would create.

        Only the trust documents of service accounts' roles, and the issuer's own provider; only while the issuer is not known. So nobody
        can hide another document by making it unknown.
        """
        if not self.waits_for_issuer() or self.runners is None:
            return False
        if resource.type == OIDC_PROVIDER:
            return path == "url"
        return resource.type == ROLE and path == "assumeRolePolicy" and resource.inputs.get("name") in self._deferrable

    def waits_for_issuer(self) -> bool:
        """Whether this is the preview of a cluster that does not exist yet."""
        providers = self.memory.of_type(OIDC_PROVIDER)
        return self.dry_run and any(holds_unknown(each.inputs.get("url")) for each in providers)

    @property
    def _deferrable(self) -> set[str]:
        if self.runners is None:
            return set()
        names = self.runners.names
        own = {role(each) for each in self.runners.runners for role in (names.job_role, names.manager_role)}
        return own | {names.alarms_role()}


@cache
def current_run() -> StackRun:
    """Surroundings of the pack's own process, which the engine started for one stack.

    Raises:
        ProgramSettingsError: the stack's configuration cannot be used.
        RunError: the project is not one of the platform's.
    """
    project, stack, dry_run = pulumi.get_project(), pulumi.get_stack(), pulumi.runtime.is_dry_run()
    if project == platform.PROJECT:
        return StackRun(settings=load.current(), stack=stack, project=project, dry_run=dry_run)
    if project == foundation.PROJECT:
        return StackRun(settings=load.current_foundation(), stack=stack, project=project, dry_run=dry_run)
    raise pulumi.RunError(
        f"the policies judge {platform.PROJECT} and {foundation.PROJECT}, not {project!r}; leave --policy-pack out"
    )
