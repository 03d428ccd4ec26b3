"""Differences between two values of one property: as documents when they are documents, never as text that is only spelled differently.

- Policy documents are compared statement by statement, in any order and spelling, because IAM reads `"s3:GetObject"` and
  `["s3:GetObject"]` as one and gives no meaning to order.
- TOML, YAML, INI and JSON in a string are compared by their contents.
- `forces_replacement` lists the properties whose change replaces the resource.

Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html and "Forces new resource" in the references of
the providers aws 7, gitlab 10 and kubernetes 4.
"""

from __future__ import annotations

import configparser
import json
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any

import yaml

from access.resource import UNKNOWN, UNKNOWN_TEXT
from runner_platform.reports.change import Property
from runner_platform.reports.markdown import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

IDENTITY_KEYS = ("name", "key", "id", "topologyKey", "sid", "rulePriority")
"""Keys that tell the members of a list apart, first match wins."""
LONGEST_STATEMENT = 1000
"""Characters of a whole statement that are shown: a reviewer must see what it allows."""
SET_ELEMENTS = ("Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition")
ABSENT: Any = object()

Statement = dict[str, frozenset[str]]
"""Values by dotted place, such as `Condition.StringEquals.aws:PrincipalOrgID`."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> Iterator[Property]:
    """Properties that differ, by dotted path, in the order of the new value."""
    for key in [*new, *(name for name in old if name not in new)]:
        member = f"{path}.{key}" if path else str(key)
        yield from _compare(member, old.get(key, ABSENT), new.get(key, ABSENT))


def _compare(path: str, old: Any, new: Any) -> Iterator[Property]:
    if _same(old, new):
        return
    if old is ABSENT or new is ABSENT or type(old) is not type(new):
        yield Property(path=path, old=_text(old), new=_text(new))
    elif isinstance(new, dict):
        yield from differences(old, new, path)
    elif isinstance(new, list):
        yield from _compare_lists(path, old, new)
    elif isinstance(new, str):
        yield from _compare_texts(path, old, new)
    else:
        yield Property(path=path, old=_text(old), new=_text(new))


def _same(old: Any, new: Any) -> bool:
    if old is ABSENT or new is ABSENT:
        return old is new
    return _json(old) == _json(new)  # in Python True equals 1


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_without_json)


def _without_json(value: Any) -> str:
    return UNKNOWN_TEXT if value is UNKNOWN else str(value)


def _text(value: Any) -> str | None:
    if value is ABSENT:
        return None
    return cut(value if isinstance(value, str) else UNKNOWN_TEXT if value is UNKNOWN else _json(value))


def _compare_lists(path: str, old: list[Any], new: list[Any]) -> Iterator[Property]:
    for key in IDENTITY_KEYS:
        before, after = _by_key(key, old), _by_key(key, new)
        if before is not None and after is not None:
            for name in [*after, *(name for name in before if name not in after)]:
                yield from _compare(f"{path}[{name}]", before.get(name, ABSENT), after.get(name, ABSENT))
            return
    if any(isinstance(member, dict | list) for member in (*old, *new)):
        for index in range(max(len(old), len(new))):
            pair = (members[index] if index < len(members) else ABSENT for members in (old, new))
            yield from _compare(f"{path}[{index}]", *pair)
        return
    yield from _compare_members(path, old, new)


def _by_key(key: str, members: list[Any]) -> dict[str, Any] | None:
    if not all(isinstance(member, dict) and isinstance(member.get(key), str | int) for member in members):
        return None
    by_name = {str(member[key]): member for member in members}
    return by_name if len(by_name) == len(members) else None


def _compare_members(path: str, old: list[Any], new: list[Any]) -> Iterator[Property]:
    before, after = Counter(map(_text, old)), Counter(map(_text, new))
    if before == after:
        yield Property(path=f"{path} (order)", old=_text(old), new=_text(new))
    yield from (Property(path=path, old=text) for text in (before - after).elements())
    yield from (Property(path=path, new=text) for text in (after - before).elements())


def _compare_texts(path: str, old: str, new: str) -> Iterator[Property]:
    before, after = document(old), document(new)
    if before is None or after is None or type(before) is not type(after):
        yield from _compare_lines(path, old, new)
        return
    old_statements, new_statements = statements(before), statements(after)
    if old_statements is not None and new_statements is not None:
        yield from compare_statements(path, old_statements, new_statements)
        yield from differences(_without_statements(before), _without_statements(after), path)
    else:
        properties = list(_compare(path, before, after))
        yield from properties or [Property(path=f"{path} (spelling)", old=cut(old), new=cut(new))]


def _compare_lines(path: str, old: str, new: str) -> Iterator[Property]:
    if "\n" not in old.strip() and "\n" not in new.strip():
        yield Property(path=path, old=_text(old), new=_text(new))
        return
    before, after = Counter(old.splitlines()), Counter(new.splitlines())
    removed, added = list((before - after).elements()), list((after - before).elements())
    yield from (Property(path=f"{path} (line)", old=cut(line)) for line in removed)
    yield from (Property(path=f"{path} (line)", new=cut(line)) for line in added)
    if not removed and not added:
        yield Property(path=f"{path} (order of lines)", old=cut(old), new=cut(new))


def document(text: str) -> Any:
    """Parse a string with JSON, TOML, INI or YAML; None for plain text."""
    if text[:1] in {"{", "["} or text[:1].isspace():
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            pass
    if "\n" not in text.strip():
        return None
    for parse in (tomllib.loads, _parse_ini, yaml.safe_load):
        try:
            contents = parse(text)
        except (tomllib.TOMLDecodeError, configparser.Error, yaml.YAMLError):
            continue
        if isinstance(contents, dict | list):
            return contents
    return None


def _parse_ini(text: str) -> dict[str, Any]:
    parser = configparser.ConfigParser(default_section="", interpolation=None)
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


# Policy documents -----------------------------------------------------------------------------------------------------


def statements(contents: Any) -> list[dict[str, Any]] | None:
    """The statements of a policy document; None for any other contents."""
    if not isinstance(contents, dict) or "Statement" not in contents:
        return None
    value = contents["Statement"]
    members = value if isinstance(value, list) else [value]
    return members if all(isinstance(member, dict) for member in members) else None


def _without_statements(contents: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in contents.items() if key != "Statement"}


def compare_statements(
    path: str, old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> Iterator[Property]:
    """Differences between the statements of two documents."""
    before, after = list(old), list(new)
    for statement in old:  # equal ones first, so that none of them is paired with a changed one
        equal = next((candidate for candidate in after if normalised(candidate) == normalised(statement)), None)
        if equal is not None:
            before.remove(statement)
            after.remove(equal)
    for statement in list(after):
        counterpart = _counterpart(statement, before)
        if counterpart is not None:
            before.remove(counterpart)
            after.remove(statement)
            place = f"{path}.Statement[{_label(statement, new)}]"
            yield from _compare_elements(place, normalised(counterpart), normalised(statement))
    for statement in before:
        yield Property(path=f"{path}.Statement[{_label(statement, old)}]", old=_statement_text(statement))
    for statement in after:
        yield Property(path=f"{path}.Statement[{_label(statement, new)}]", new=_statement_text(statement))


def normalised(statement: Mapping[str, Any]) -> Statement:
    """A statement's values as sets, by dotted place."""
    by_place: Statement = {}
    for key, value in statement.items():
        _collect(key, value, by_place)
    return by_place


def _collect(place: str, value: Any, by_place: Statement) -> None:
    if isinstance(value, dict):
        for key, member in value.items():
            _collect(f"{place}.{key}", member, by_place)
    else:
        members = value if isinstance(value, list) else [value]
        by_place[place] = frozenset(member if isinstance(member, str) else json.dumps(member) for member in members)


def _counterpart(statement: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The candidate with the same Sid, else the most similar one with the same effect."""
    same_sid = [c for c in candidates if c.get("Sid") and c.get("Sid") == statement.get("Sid")]
    if len(same_sid) == 1:
        return same_sid[0]
    comparable = [
        candidate
        for candidate in candidates
        if candidate.get("Effect") == statement.get("Effect") and not (candidate.get("Sid") and statement.get("Sid"))
    ]
    best = max(comparable, key=lambda candidate: _similarity(candidate, statement), default=None)
    return best if best is not None and _similarity(best, statement) > 0 else None


def _similarity(statement: Mapping[str, Any], candidate: Mapping[str, Any]) -> int:
    first, second = normalised(statement), normalised(candidate)
    places = [place for place in first if place.split(".")[0] in SET_ELEMENTS and place in second]
    return sum(len(first[place] & second[place]) for place in places)


def _compare_elements(path: str, old: Statement, new: Statement) -> Iterator[Property]:
    for place in [*new, *(place for place in old if place not in new)]:
        if old.get(place) == new.get(place):
            continue
        before, after = old.get(place, frozenset()), new.get(place, frozenset())
        yield from (Property(path=f"{path}.{place}", old=cut(value)) for value in sorted(before - after))
        yield from (Property(path=f"{path}.{place}", new=cut(value)) for value in sorted(after - before))
        if before == after:  # an empty list on one side; to IAM it is not the same as no list
            old_text, new_text = ("[]" if place in side else None for side in (old, new))
            yield Property(path=f"{path}.{place}", old=old_text, new=new_text)


def _label(statement: Mapping[str, Any], siblings: Sequence[Mapping[str, Any]]) -> str:
    return str(statement.get("Sid") or f"#{[id(sibling) for sibling in siblings].index(id(statement)) + 1}")


def _statement_text(statement: Mapping[str, Any]) -> str:
    return cut(json.dumps(statement, separators=(", ", ": ")), LONGEST_STATEMENT)


# Replacements ---------------------------------------------------------------------------------------------------------

FIXED: Mapping[str, frozenset[str]] = {
    token: frozenset(paths.split())
    for token, paths in {
        "aws:cloudwatch/logGroup:LogGroup": "name logGroupClass",
        "aws:cloudwatch/metricAlarm:MetricAlarm": "name",
        "aws:ec2/eip:Eip": "domain",
        "aws:ec2/natGateway:NatGateway": "allocationId connectivityType subnetId",
        "aws:ec2/route:Route": "destinationCidrBlock destinationIpv6CidrBlock destinationPrefixListId routeTableId",
        "aws:ec2/routeTable:RouteTable": "vpcId",
        "aws:ec2/routeTableAssociation:RouteTableAssociation": "gatewayId subnetId",
        "aws:ec2/subnet:Subnet": "availabilityZone cidrBlock vpcId",
        "aws:ec2/vpc:Vpc": "cidrBlock",
        "aws:ec2/vpcEndpoint:VpcEndpoint": "serviceName vpcEndpointType vpcId",
        "aws:ecr/repository:Repository": "name encryptionConfigurations",
        "aws:ecr/lifecyclePolicy:LifecyclePolicy": "repository",
        "aws:ecr/repositoryPolicy:RepositoryPolicy": "repository",
        "aws:eks/accessEntry:AccessEntry": "clusterName principalArn type",
        "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": "accessScope clusterName policyArn principalArn",
        "aws:eks/addon:Addon": "addonName clusterName",
        "aws:eks/cluster:Cluster": (
            "name roleArn encryptionConfig bootstrapSelfManagedAddons accessConfig.bootstrapClusterCreatorAdminPermissions "
            "kubernetesNetworkConfig.ipFamily kubernetesNetworkConfig.serviceIpv4Cidr"
        ),
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider": "url",
        "aws:iam/policy:Policy": "name path description",
        "aws:iam/role:Role": "name path",
        "aws:iam/rolePolicy:RolePolicy": "name role",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "policyArn role",
        "aws:kms/alias:Alias": "name",
        "aws:kms/key:Key": "customerMasterKeySpec keyUsage multiRegion",
        "aws:s3/bucket:Bucket": "bucket objectLockEnabled",
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "bucket",
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls": "bucket",
        "aws:s3/bucketPolicy:BucketPolicy": "bucket",
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "bucket",
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": "bucket",
        "aws:s3/bucketVersioning:BucketVersioning": "bucket",
        "gitlab:index/userRunner:UserRunner": "groupId projectId runnerType",
        "kubernetes:core/v1:Secret": "type",
        "kubernetes:helm.sh/v3:Release": "name namespace",
        "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding": "roleRef",
    }.items()
}
"""Paths of inputs that AWS, Kubernetes and GitLab cannot change in place, by type token; a path stands for everything below it too.

Types that are missing are never said to be replaced. Nor are followers of a replacement (resources that hold the replaced one's id):
in a mock run ids never change.
"""
FIXED_IN_KUBERNETES = frozenset({"metadata.name", "metadata.namespace"})
"""Such paths of every object in Kubernetes."""


def forces_replacement(token: str, path: str) -> bool:
    """Whether a change of an input replaces the resource."""
    fixed = FIXED.get(token, frozenset())
    if token.startswith("kubernetes:"):
        fixed |= FIXED_IN_KUBERNETES
    place = path.split(" (", maxsplit=1)[0]
    return any(place == prefix or place.startswith((f"{prefix}.", f"{prefix}[")) for prefix in fixed)
