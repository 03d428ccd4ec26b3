"""Rules inside a security group: a program's blocks, EC2's records, and how to get from one to the other.

A block of a program stands for several of EC2's rules (one for each range and group in it). Both are brought to single
rules, which compare as sets; blocks that mean the same rules keep the form in which they were written.
"""

from typing import Any, NamedTuple

from runner_platform_sandbox.providers.aws.resource import Call
from runner_platform_sandbox.providers.base import Properties

_LISTS = {"cidrBlocks": "CidrIpv4", "ipv6CidrBlocks": "CidrIpv6", "prefixListIds": "PrefixListId"}
_REQUESTS = {
    "CidrIpv4": ("IpRanges", "CidrIp"),
    "CidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
    "PrefixListId": ("PrefixListIds", "PrefixListId"),
    "GroupId": ("UserIdGroupPairs", "GroupId"),
}


class Rule(NamedTuple):
    """One rule: EC2 knows no two that are equal in all but the description."""

    protocol: str
    first: int
    last: int
    kind: str
    """`CidrIpv4`, `CidrIpv6`, `PrefixListId` or `GroupId`."""
    source: str
    description: str


def rule_records(call: Call, group: str) -> list[Properties]:
    """Return EC2's records of all rules of `group`."""
    mine = [{"Name": "group-id", "Values": [group]}]
    found = call.client("ec2").pages("describe_security_group_rules", "SecurityGroupRules", Filters=mine)
    return [record for record in found if record.get("GroupId") == group]


def same_rules(new: list[Properties], old: list[Properties]) -> bool:
    """Tell whether two lists of blocks mean the same rules; `old` names the group itself as `self`."""
    return _from_blocks("self", new) == _from_blocks("self", old)


def inline_rules(group: str, records: list[Properties], *, egress: bool) -> list[Properties]:
    """Return the rules in one direction as blocks, one for each rule."""
    present = {_from_record(record) for record in records if bool(record.get("IsEgress")) == egress}
    return [_as_block(group, rule) for rule in sorted(present)]


def apply_rules(call: Call, group: str, blocks: list[Properties], *, egress: bool) -> None:
    """Bring the rules in one direction to what `blocks` say, with as few calls as possible."""
    present = {_from_record(record) for record in rule_records(call, group) if bool(record.get("IsEgress")) == egress}
    wanted = _from_blocks(group, blocks)
    way = "egress" if egress else "ingress"
    for operation, rules in (("revoke", present - wanted), ("authorize", wanted - present)):
        if rules:
            call.client("ec2").call(
                f"{operation}_security_group_{way}",
                GroupId=group,
                IpPermissions=[_request(rule) for rule in sorted(rules)],
            )


def _from_record(record: Properties) -> Rule:
    kind = next((key for key in _LISTS.values() if record.get(key)), "GroupId")
    source = record[kind] if kind != "GroupId" else record.get("ReferencedGroupInfo", {}).get("GroupId", "")
    ports = record.get("FromPort", -1), record.get("ToPort", -1)
    return Rule(*_traffic(str(record["IpProtocol"]), *ports), kind, source, record.get("Description") or "")


def _from_blocks(group: str, blocks: list[Properties]) -> set[Rule]:
    rules = set()
    for block in blocks:
        traffic = _traffic(str(block["protocol"]), block.get("fromPort", 0), block.get("toPort", 0))
        note = block.get("description") or ""
        sources = [(key, source) for name, key in _LISTS.items() for source in block.get(name) or []]
        sources += [("GroupId", source) for source in block.get("securityGroups") or []]
        if block.get("self"):
            sources.append(("GroupId", group))
        rules |= {Rule(*traffic, kind, source, note) for kind, source in sources}
    return rules


def _traffic(protocol: str, first: int, last: int) -> tuple[str, int, int]:
    """Return protocol and ports; the ports of "everything" mean nothing."""
    return ("-1", 0, 0) if protocol.lower() in {"-1", "all"} else (protocol.lower(), first, last)


def _as_block(group: str, rule: Rule) -> Properties:
    names = {key: name for name, key in _LISTS.items()} | {"GroupId": "securityGroups"}
    block: Properties = {"protocol": rule.protocol, "fromPort": rule.first, "toPort": rule.last}
    if rule.kind == "GroupId" and rule.source == group:
        block["self"] = True
    else:
        block[names[rule.kind]] = [rule.source]
    return block | ({"description": rule.description} if rule.description else {})


def _request(rule: Rule) -> dict[str, Any]:
    key, field = _REQUESTS[rule.kind]
    entry = {field: rule.source, **({"Description": rule.description} if rule.description else {})}
    permission: dict[str, Any] = {"IpProtocol": rule.protocol, key: [entry]}
    if rule.protocol != "-1":
        permission |= {"FromPort": rule.first, "ToPort": rule.last}
    return permission
