"""One run of the engine on one stack: the stack's settings, the kind of run, and which documents may be decided later.

The pack asks for settings here and nowhere else; `config.load` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import pulumi

from config import foundation, load
from config import settings as platform
from config.runners import of_kubernetes
from config.settings import Settings
from policies.engine_messages import AnalyzedResources
from policies.fields import contains_unknown
from policies.type_tokens import OIDC_PROVIDER, ROLE

if TYPE_CHECKING:
    from access.resource import Resource
    from config.foundation import FoundationSettings


@dataclass(frozen=True, kw_only=True)
class StackRun:
    """One run of the engine on one stack."""

    settings: Settings | FoundationSettings
    stack: str
    project: str
    dry_run: bool = False
    """Whether this is a preview, where values may be unknown."""
    resources: AnalyzedResources = field(default_factory=AnalyzedResources)
    """Resources that the engine has sent so far."""

    @property
    def platform_settings(self) -> Settings | None:
        """Settings of a stack of the platform; None in the foundation."""
        return self.settings if isinstance(self.settings, Settings) else None

    @property
    def account_ids(self) -> dict[str, str]:
        """Ids of the accounts that the settings list, by name."""
        return {name: account.id for name, account in self.settings.accounts.items()}

    def may_defer(self, resource: Resource, path: str) -> bool:
        """Whether a field may be decided on the deployed state, because it contains the issuer of a cluster that this preview would create.

        This holds only for the trust documents of service accounts' roles and for the issuer's own provider, and only while the issuer is
        unknown: so no other document can be hidden by making it unknown.
        """
        if not self.waits_for_issuer() or self.platform_settings is None:
            return False
        if resource.type == OIDC_PROVIDER:
            return path == "url"
        return resource.type == ROLE and path == "assumeRolePolicy" and resource.inputs.get("name") in self._deferrable

    def waits_for_issuer(self) -> bool:
        """Whether this is the preview of a cluster that does not exist yet."""
        providers = self.resources.of_type(OIDC_PROVIDER)
        return self.dry_run and any(contains_unknown(provider.inputs.get("url")) for provider in providers)

    @property
    def _deferrable(self) -> set[str]:
        """Names of the roles whose trust contains the cluster's issuer."""
        settings = self.platform_settings
        if settings is None:
            return set()
        names, classes = settings.names, of_kubernetes(settings.runners)
        return {names.alarms_role(), *map(names.job_role, classes), *map(names.manager_role, classes)}


@cache
def current_run() -> StackRun:
    """Return the run that the engine started this process for.

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
        f"this policy pack is for the projects {platform.PROJECT} and {foundation.PROJECT}, not for {project!r}; "
        "leave --policy-pack out"
    )
