"""Providers: one per account, one per cluster; default providers are not used.

The program names no role of its own. Who acts stands in the AWS config that the caller brings, under fixed profile names, so that a
preview as reader and a deployment as deployer register the same inputs, and no role ever assumes itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
import pulumi_gitlab as gitlab
import pulumi_kubernetes as kubernetes

from components.documents.cluster import kubeconfig
from config.tags import default_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.sections import Organization, Tags


def account_provider(
    name: str, *, account_id: str, organization: Organization, stack: str, tags: Tags, profile: str
) -> aws.Provider:
    """The provider of one account: its profile, and the only account id that it may act in."""
    return aws.Provider(
        name,
        profile=profile,
        region=organization.region,
        allowed_account_ids=[account_id],
        default_tags=aws.ProviderDefaultTagsArgs(tags=default_tags(stack, tags)),
    )


def cluster_provider(
    name: str,
    *,
    cluster: aws.eks.Cluster,
    profile: str,
    region: str,
    opts: pulumi.ResourceOptions,
    wait_for: Sequence[pulumi.Resource],
) -> kubernetes.Provider:
    """The provider of one cluster; `wait_for` are the access entries that let the deployer in."""
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
        # Only a change of this replaces the provider, and with it every object of the cluster.
        cluster_identifier=cluster.arn,
        enable_server_side_apply=True,
        # Else a new token, or a new AWS config, would replace its object: for a moment there would be none.
        enable_secret_mutable=True,
        enable_config_map_mutable=True,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(wait_for))),
    )


def gitlab_provider(name: str, *, url: str) -> gitlab.Provider:
    """The provider of the GitLab instance; its token is GITLAB_TOKEN of whoever deploys, and never in state.

    `GITLAB_BASE_URL` of the environment, where it is set, says how to reach the instance from here.
    """
    return gitlab.Provider(name, base_url=None if url == "https://gitlab.com" else f"{url}/api/v4/")
