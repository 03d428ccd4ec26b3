"""The attacks that the policies stop, and the part of each attack that no rule can report."""

from __future__ import annotations

from typing import NamedTuple


class Attack(NamedTuple):
    """One attack."""

    way: str
    """What the attacker does."""
    unseen: str
    """The part that no policy can report, and who can; empty if the rules report all of it."""


ATTACKS = {
    "A01": Attack(
        "A job reads the nodes' role from the metadata service",
        "whether a node enforces network policies: a person tries it on the first cluster ([first-real-cluster.md](../operate/first-real-cluster.md))",
    ),
    "A02": Attack(
        "A pod with the node's network or processes gets past the limits on metadata",
        "",
    ),
    "A03": Attack(
        "A variable in a job's file picks a stronger service account",
        "service accounts and annotations that somebody makes by hand",
    ),
    "A04": Attack("A job moves to another namespace, or brings a token for the cluster", ""),
    "A05": Attack(
        "A privileged pod or the container socket opens the node, and every token on it",
        "faults of the kernel and of the container runtime",
    ),
    "A06": Attack("A trust in tokens pins the audience only: every service account, every project comes in", ""),
    "A07": Attack("A wildcard in the subject, or a condition that holds when the claim is absent", ""),
    "A08": Attack(
        "A trust in a foreign or abandoned issuer, or in branches of GitLab by a pattern",
        "that a project in GitLab is renamed, and its old path taken by somebody else",
    ),
    "A09": Attack(
        "A role trusts a whole account: every principal there with sts:AssumeRole comes in",
        "principals of the account that no stack of the platform makes",
    ),
    "A10": Attack("A stronger role is passed to a service that runs the caller's code", ""),
    "A11": Attack("A role gives itself rights: by its policies, by a trust, by losing its boundary", ""),
    "A12": Attack(
        "A chain of roles: open class to a role between to prod, dev's role to prod's",
        "roles that no stack of the platform makes",
    ),
    "A13": Attack("An ExternalId is taken for a secret between our own accounts", ""),
    "A14": Attack("A job writes its own session tags", ""),
    "A15": Attack("A service, or a vendor's account, acts for somebody else", ""),
    "A16": Attack(
        "A job pushes an image that prod, or the runner itself, pulls, or moves its tag",
        "what is in an image, and who signed it",
    ),
    "A17": Attack(
        "A job writes a cache that another class unpacks",
        "the switch of a project in GitLab that keeps caches of protected branches apart",
    ),
    "A18": Attack(
        "A merge request's pipeline runs on the runner that deploys",
        "settings of projects in GitLab, and runners that somebody else makes (`gitlab.runners: external`): `up`, `drift` and `prove` compare the live runners",
    ),
    "A19": Attack(
        "A merge request's own code runs with the preview's credentials, or weakens the pack that evaluates it",
        "a changed pipeline file: the binding check is the preview after the merge ([merge-requests.md](../operate/merge-requests.md))",
    ),
    "A20": Attack("The right to make pods in a namespace is the right to all accounts and secrets in it", ""),
    "A21": Attack("A right in AWS is turned into the right to rule the cluster, or to be any role", ""),
    "A22": Attack(
        "A stolen runner token takes jobs and their secrets",
        "that a token is used elsewhere: GitLab lists the runner's managers ([gitlab-tokens.md](../operate/gitlab-tokens.md))",
    ),
    "A23": Attack("A job picks the managers' nodes, or another class's", ""),
    "A24": Attack("A job runs a private image that another project's job left on the node", ""),
    "A25": Attack(
        "A provider or a profile leads to another account than its name says",
        "the shell of whoever deploys; the provider's list of accounts stops it there",
    ),
    "A26": Attack("A value that is not known yet switches a rule off", ""),
    "A27": Attack("A role is deleted and made again under a name that a condition trusts", ""),
    "A28": Attack("An open class pushes an image that a protected class runs", ""),
    "A29": Attack("An open class writes state or a cache that a protected class reads", ""),
    "A30": Attack(
        "A resource, a property or a command that no rule knows opens what the rules keep closed",
        "functions that a program calls while it runs (`pulumi.runtime.invoke`): `check` refuses those that it does not know",
    ),
}
