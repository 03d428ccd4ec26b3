"""The request that a question stands for: action, resource, condition keys, and the policies that apply.

Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/ reference_policies_condition-keys.html,
reference_policies_iam-condition-keys.html, reference_policies_variables.html#principaltable, id_session-tags.html;
https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from tests.access.oracle.conditions import Context, Doubtful, Values
from tests.access.oracle.world import (
    Act,
    AssumeRole,
    AssumeRoleForPod,
    AssumeRoleWithToken,
    Document,
    Question,
    Resource,
    Role,
    Session,
    Tags,
    World,
)

if TYPE_CHECKING:
    from tests.access.oracle.readings import Readings

PODS = "pods.eks.amazonaws.com"
Keys = dict[str, Values | Doubtful | None]


class RefusedError(Exception):
    """AWS refuses the request before it looks at a policy."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who makes the request, in the words of a Principal element."""

    account: str | None = None
    role: str | None = None
    """ARN of the role of a session."""
    session: str | None = None
    """ARN of the session."""
    service: str | None = None
    federated: str | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request with everything that AWS's evaluation takes in."""

    caller: Caller
    action: str
    resource: str
    owner: str
    """Account of the resource."""
    kind: str
    """`trust`, `kms`, `s3` or `ecr`."""
    context: Context
    identity_policies: tuple[Document, ...] = ()
    boundary: Document | None = None
    session_policy: Document | None = None
    resource_policy: Document | None = None
    identity_context: Context | None = None
    """Condition keys for the caller's own policies, where they can differ from those for the resource's policy."""


def _lower(keys: Keys) -> Keys:
    return {key.lower(): value for key, value in keys.items()}


def _tag_keys(prefix: str, tags: Tags) -> Keys:
    return {f"{prefix}/{key}": value for key, value in tags.items()}


def combined(*layers: Tags) -> Tags:
    """Merge tags; a later layer wins, and keys that differ in case only are the same key."""
    merged: Tags = {}
    for layer in layers:
        for key, value in layer.items():
            merged = {name: text for name, text in merged.items() if name.lower() != key.lower()}
            merged[key] = value
    return merged


def principal_tags(role: Role, session: Session) -> Tags:
    """Tags of a session: those of its role, then inherited ones, then those that were passed."""
    return combined(role.tags, session.inherited, session.tags)


def passed_on(session: Session) -> Tags:
    """Tags that a session of another role inherits when this session assumes it."""
    keys = {key.lower() for key in session.transitive}
    return combined(session.inherited, {key: value for key, value in session.tags.items() if key.lower() in keys})


def _surroundings(world: World) -> Keys:
    moment = datetime.fromisoformat(world.now)
    return {
        "aws:CurrentTime": world.now,
        "aws:EpochTime": str(int(moment.timestamp())),
        "aws:SecureTransport": "true",
        "aws:SourceIp": world.source_ip,
    }


def _stranger_keys(name: str) -> Keys:
    """Condition keys that AWS lists for all requests, but without a value for callers that are no session."""
    statement = "a caller without an IAM identity has keys of its own"
    keys = ("aws:PrincipalAccount", "aws:PrincipalType", "aws:userid")
    return {key: Doubtful(statement=statement, if_true=name, if_false=None) for key in keys}


def _session_keys(world: World, session: Session) -> Keys:
    role = world.roles[session.role]
    keys: Keys = {
        **_surroundings(world),
        "aws:PrincipalArn": role.arn,
        "aws:PrincipalAccount": role.account,
        "aws:PrincipalOrgID": world.organizations[role.account],
        "aws:PrincipalType": "AssumedRole",
        "aws:PrincipalIsAWSService": "false",
        "aws:ViaAWSService": "false",
        "aws:userid": f"{role.role_id}:{session.name}",
        "aws:MultiFactorAuthPresent": "false",
        "aws:TokenIssueTime": world.now,
    }
    return {**keys, **_tag_keys("aws:PrincipalTag", principal_tags(role, session))}


def _caller(world: World, session: Session) -> Caller:
    role = world.roles[session.role]
    arn = f"arn:aws:sts::{role.account}:assumed-role/{role.name}/{session.name}"
    return Caller(account=role.account, role=role.arn, session=arn)


def _resource_keys(world: World, account: str, tags: Tags) -> Keys:
    return {
        "aws:ResourceAccount": account,
        "aws:ResourceOrgID": world.organizations[account],
        **_tag_keys("aws:ResourceTag", tags),
    }


def _passed_tags(tags: Tags, transitive: frozenset[str], inherited: Tags) -> Keys:
    """Condition keys of the tags that a request for a session passes; what a chain inherits may or may not count."""
    statement = "inherited tags are tags of the request"
    keys: Keys = _tag_keys("aws:RequestTag", tags)
    for key, value in inherited.items():
        keys[f"aws:RequestTag/{key}"] = Doubtful(statement=statement, if_true=value, if_false=None)
    for name, passed in (("aws:TagKeys", set(tags)), ("sts:TransitiveTagKeys", set(transitive))):
        certain: Values | None = sorted(passed) or None
        if inherited:
            keys[name] = Doubtful(statement=statement, if_true=sorted(passed | set(inherited)), if_false=certain)
        else:
            keys[name] = certain or Doubtful(
                statement="a key without any value is part of the request", if_true=[], if_false=None
            )
    return keys


def _role_tags(role: Role) -> Keys:
    return {**_tag_keys("aws:ResourceTag", role.tags), **_tag_keys("iam:ResourceTag", role.tags)}


def _assume_role(world: World, question: AssumeRole, readings: Readings) -> list[Request]:
    """AssumeRole by a session. Transitive tags replace equal tags of the role when its trust policy is evaluated."""
    role, session = world.roles[question.role], question.session
    inherited = passed_on(session)
    repeated = {key.lower() for key in inherited} & {key.lower() for key in question.tags}
    if repeated:
        raise RefusedError(f"the session inherits the tag {min(repeated)}, and a request cannot pass it again")
    replaced = {key.lower(): value for key, value in inherited.items()}
    trust_tags = {key: replaced.get(key.lower(), value) for key, value in role.tags.items()}
    common = _lower(
        {
            **_session_keys(world, session),
            **_resource_keys(world, role.account, {}),
            **_passed_tags(question.tags, question.transitive, inherited),
            "sts:ExternalId": question.external_id,
            "sts:RoleSessionName": question.session_name,
        }
    )
    doubtful = {
        key: Doubtful(
            statement="transitive tags replace tags of the role in the caller's own policies, too",
            if_true=replaced[key.lower()],
            if_false=value,
        )
        if key.lower() in replaced
        else value
        for key, value in role.tags.items()
    }
    own_keys = _lower(
        {f"{prefix}:ResourceTag/{key}": value for prefix in ("aws", "iam") for key, value in doubtful.items()}
    )
    trust_keys = _lower(_role_tags(replace(role, tags=trust_tags)))
    caller_role = world.roles[session.role]
    request = Request(
        caller=_caller(world, session),
        action="sts:AssumeRole",
        resource=role.arn,
        owner=role.account,
        kind="trust",
        context=Context({**common, **trust_keys}, readings),
        identity_context=Context({**common, **own_keys}, readings),
        identity_policies=caller_role.policies,
        boundary=caller_role.boundary,
        session_policy=session.policy,
        resource_policy=role.trust,
    )
    needed = bool(question.tags) or (bool(inherited) and readings("inherited tags need sts:TagSession"))
    return [request, _tagging(request, readings)] if needed else [request]


def _tagging(request: Request, readings: Readings) -> Request:
    """Return the request for sts:TagSession that goes with a request for a session with tags."""
    statement = "sts:TagSession has the token's and the session's keys of the request that it goes with"

    def contexts(context: Context) -> Context:
        keys = {
            key: Doubtful(statement=statement, if_true=value, if_false=None)
            if isinstance(value, str) and not key.startswith(("aws:", "iam:"))
            else value
            for key, value in context.keys.items()
        }
        return Context(keys, readings)

    own = request.identity_context
    return replace(
        request,
        action="sts:TagSession",
        context=contexts(request.context),
        identity_context=None if own is None else contexts(own),
    )


def _with_token(world: World, question: AssumeRoleWithToken, readings: Readings) -> list[Request]:
    """AssumeRoleWithWebIdentity: only the trust policy decides, after STS has checked the token against the provider."""
    role = world.roles[question.role]
    provider = next(
        (entry for entry in world.providers if (entry.account, entry.issuer) == (role.account, question.issuer)), None
    )
    if provider is None:
        raise RefusedError(f"account {role.account} has no OIDC provider {question.issuer}")
    if question.audience not in provider.audiences:
        raise RefusedError(f"the OIDC provider does not list the audience {question.audience}")
    keys: Keys = {
        **_surroundings(world),
        **_stranger_keys("Anonymous"),
        f"{question.issuer}:sub": question.subject,
        f"{question.issuer}:aud": question.audience,
        "sts:RoleSessionName": question.session_name,
        **_resource_keys(world, role.account, {}),
        **_role_tags(role),
        **_passed_tags(question.tags, question.transitive, {}),
    }
    request = Request(
        caller=Caller(federated=provider.arn),
        action="sts:AssumeRoleWithWebIdentity",
        resource=role.arn,
        owner=role.account,
        kind="trust",
        context=Context(_lower(keys), readings),
        resource_policy=role.trust,
    )
    return [request, _tagging(request, readings)] if question.tags else [request]


def pod_tags(question: AssumeRoleForPod) -> Tags:
    """Session tags that EKS Pod Identity passes, all of them transitive."""
    return {
        "eks-cluster-arn": question.cluster,
        "eks-cluster-name": question.cluster.rpartition("/")[2],
        "kubernetes-namespace": question.namespace,
        "kubernetes-service-account": question.service_account,
        "kubernetes-pod-name": question.pod,
        "kubernetes-pod-uid": f"uid-of-{question.pod}",
    }


def _for_pod(world: World, question: AssumeRoleForPod, readings: Readings) -> list[Request]:
    role, tags = world.roles[question.role], pod_tags(question)
    statement = "EKS Pod Identity says which cluster it acts for"
    keys: Keys = {
        **_surroundings(world),
        **_stranger_keys(PODS),
        "aws:PrincipalIsAWSService": "true",
        "aws:PrincipalArn": Doubtful(statement="a service has an aws:PrincipalArn", if_true=PODS, if_false=None),
        "aws:SourceIp": Doubtful(statement="the pod's address counts", if_true=world.source_ip, if_false=None),
        "aws:SourceArn": Doubtful(statement=statement, if_true=question.cluster, if_false=None),
        "aws:SourceAccount": Doubtful(statement=statement, if_true=question.cluster.split(":")[4], if_false=None),
        **_resource_keys(world, role.account, {}),
        **_role_tags(role),
        **_passed_tags(tags, frozenset(tags), {}),
    }
    request = Request(
        caller=Caller(service=PODS),
        action="sts:AssumeRole",
        resource=role.arn,
        owner=role.account,
        kind="trust",
        context=Context(_lower(keys), readings),
        resource_policy=role.trust,
    )
    return [request, _tagging(request, readings)]


def _resource(world: World, arn: str) -> Resource:
    """Return a resource by its ARN; an object has its bucket's policy."""
    return world.resources.get(arn) or world.resources[arn.partition("/")[0]]


def _act(world: World, question: Act, readings: Readings) -> list[Request]:
    session, resource = question.session, _resource(world, question.resource)
    role = world.roles[session.role]
    tags = resource.tags if question.resource == resource.arn else {}
    keys: Keys = {
        **_session_keys(world, session),
        **_resource_keys(world, resource.account, tags),
        **_tag_keys("aws:RequestTag", question.request_tags),
        "aws:TagKeys": sorted(question.request_tags)
        or Doubtful(statement="a key without any value is part of the request", if_true=[], if_false=None),
    }
    return [
        Request(
            caller=_caller(world, session),
            action=question.action,
            resource=question.resource,
            owner=resource.account,
            kind=resource.service,
            context=Context(_lower(keys), readings),
            identity_policies=role.policies,
            boundary=role.boundary,
            session_policy=session.policy,
            resource_policy=resource.policy,
        )
    ]


def requests(world: World, question: Question, readings: Readings) -> list[Request]:
    """Return the requests that must all be allowed for the question's answer to be yes.

    Raises:
        RefusedError: AWS refuses before it looks at a policy.
    """
    match question:
        case AssumeRole():
            return _assume_role(world, question, readings)
        case AssumeRoleWithToken():
            return _with_token(world, question, readings)
        case AssumeRoleForPod():
            return _for_pod(world, question, readings)
        case Act():
            return _act(world, question, readings)
