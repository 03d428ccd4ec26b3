"""Providers: one for each account, the cluster and GitLab; default providers are not used.

The program names profiles, never roles. The caller's AWS config says which role a profile assumes, so that a preview as reader and a
deployment as deployer register the same inputs, and no role ever assumes itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
import pulumi_gitlab as gitlab
import pulumi_kubernetes as kubernetes

from components.documents.cluster import kubeconfig
from components.documents.runner_object import api_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from config.foundation import FoundationAccount
    from config.sections import Account


def account_providers(
    accounts: Mapping[str, Account | FoundationAccount],
    *,
    region: str,
    tags: Mapping[str, str],
    profile_prefix: str,
) -> dict[str, aws.Provider]:
    """Make one provider for each account, which acts in this account only, with the profile `<prefix>-<account>`."""
    return {
        name: aws.Provider(
            name,
            profile=f"{profile_prefix}-{name}",
            region=region,
            allowed_account_ids=[account.id],
            default_tags=aws.ProviderDefaultTagsArgs(tags=tags),
        )
        for name, account in accounts.items()
    }


def cluster_provider(
    name: str,
    *,
    cluster: aws.eks.Cluster,
    profile: str,
    region: str,
    opts: pulumi.ResourceOptions,
    wait_for: Sequence[pulumi.Resource],
) -> kubernetes.Provider:
    """Make the provider of one cluster; it waits for the access entry that admits the deployer."""
    return kubernetes.Provider(
        name,
        kubeconfig=pulumi.Output.json_dumps(
            kubeconfig(
                name=cluster.name,
                endpoint=cluster.endpoint,
                certificate_authority=cluster.certificate_authority.data,
                region=region,
                profile=profile,
            )
        ),
        # Only a change of the identifier replaces the provider, and with it every object of the cluster.
        cluster_identifier=cluster.arn,
        enable_server_side_apply=True,
        # A new token or AWS config updates its object; a replacement would leave a moment without it.
        enable_secret_mutable=True,
        enable_config_map_mutable=True,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(wait_for))),
    )


def gitlab_provider(name: str, *, url: str) -> gitlab.Provider:
    """Make the provider of the GitLab instance; its token is the deployer's GITLAB_TOKEN, and never in state.

    The environment variable `GITLAB_BASE_URL` overrides how this machine reaches the instance.
    """
    return gitlab.Provider(name, base_url=api_url(url))
