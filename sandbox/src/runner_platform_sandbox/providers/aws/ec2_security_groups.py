"""Security groups, with rules inside them or as resources of their own.

A block of a program stands for several of EC2's rules (one for each range and group in it). Both are broken down to
single rules, which compare as sets; blocks that mean the same rules keep the form in which they were written.
Source: https://www.pulumi.com/registry/packages/aws/api-docs/ec2/securitygroup/ and vpc/.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from typing_extensions import override

from runner_platform_sandbox.providers.aws.conversion import tag_map
from runner_platform_sandbox.providers.aws.ec2 import Ec2Handler, is_gone, retag
from runner_platform_sandbox.providers.aws.handler import AutoName, Call, one_of
from runner_platform_sandbox.providers.aws.session import AwsError
from runner_platform_sandbox.providers.stand_in import Properties, ProviderError
from runner_platform_sandbox.providers.validation import Failure

_LISTS = {"cidrBlocks": "CidrIpv4", "ipv6CidrBlocks": "CidrIpv6", "prefixListIds": "PrefixListId"}
_REQUESTS = {
    "CidrIpv4": ("IpRanges", "CidrIp"),
    "CidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
    "PrefixListId": ("PrefixListIds", "PrefixListId"),
    "GroupId": ("UserIdGroupPairs", "GroupId"),
}


_SOURCES = {"cidrIpv4": "CidrIpv4", "cidrIpv6": "CidrIpv6", "prefixListId": "PrefixListId"}
_ANY_PROTOCOL = "-1"


class Rule(NamedTuple):
    """One rule. EC2 allows no two rules that differ only in their description."""

    protocol: str
    first: int
    last: int
    kind: str
    """`CidrIpv4`, `CidrIpv6`, `PrefixListId` or `GroupId`."""
    source: str
    description: str


def rule_records(call: Call, group: str) -> list[Properties]:
    """Return EC2's records of all rules of `group`."""
    of_group = [{"Name": "group-id", "Values": [group]}]
    records = call.client("ec2").pages("describe_security_group_rules", "SecurityGroupRules", Filters=of_group)
    return [record for record in records if record.get("GroupId") == group]


def same_rules(new: list[Properties], old: list[Properties]) -> bool:
    """Tell whether two lists of blocks mean the same rules; `old` refers to the group itself as `self`."""
    return _from_blocks("self", new) == _from_blocks("self", old)


def inline_rules(group: str, records: list[Properties], *, egress: bool) -> list[Properties]:
    """Return the rules in one direction as blocks, one for each rule."""
    present = {_from_record(record) for record in records if bool(record.get("IsEgress")) == egress}
    return [_as_block(group, rule) for rule in sorted(present)]


def apply_rules(call: Call, group: str, blocks: list[Properties], *, egress: bool) -> None:
    """Set the rules in one direction to `blocks`, with as few calls as possible."""
    present = {_from_record(record) for record in rule_records(call, group) if bool(record.get("IsEgress")) == egress}
    requested = _from_blocks(group, blocks)
    direction = "egress" if egress else "ingress"
    for operation, rules in (("revoke", present - requested), ("authorize", requested - present)):
        if rules:
            call.client("ec2").call(
                f"{operation}_security_group_{direction}",
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
    """Return protocol and ports; for all protocols the ports are 0, because they have no meaning."""
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


class _GroupHandler(Ec2Handler):
    """Base of the two kinds of group."""

    kind = "security-group"
    computed = frozenset({"ingress", "egress", "vpcId"})
    equal: ClassVar[Mapping[str, Callable[[Any, Any], bool]]] = {"ingress": same_rules, "egress": same_rules}
    kept = frozenset({"namePrefix", "revokeRulesOnDelete"})
    defaults: ClassVar[Mapping[str, Any]] = {"revokeRulesOnDelete": False}

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        group = self.find(call, "describe_security_groups", "SecurityGroups", GroupIds=[identifier])
        if group is None:
            return None
        records = rule_records(call, identifier)
        return {
            "arn": call.arn("ec2", f"security-group/{identifier}"),
            "description": group["Description"],
            "egress": inline_rules(identifier, records, egress=True),
            "ingress": inline_rules(identifier, records, egress=False),
            "name": group["GroupName"],
            "ownerId": group.get("OwnerId", call.account),
            "tags": tag_map(group.get("Tags")),
            "vpcId": group.get("VpcId"),
        }


class SecurityGroup(_GroupHandler):
    """A security group. Like Terraform's, it starts without AWS's "allow all" egress rule."""

    token = "aws:ec2/securityGroup:SecurityGroup"  # noqa: S105 - a type token
    naming = AutoName(longest=255)
    immutable = frozenset({"description", "name", "namePrefix", "vpcId"})
    defaults: ClassVar[Mapping[str, Any]] = {"description": "Managed by Pulumi", "revokeRulesOnDelete": False}

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.client("ec2").call(
            "create_security_group",
            GroupName=self.name_of(inputs),
            Description=inputs["description"],
            VpcId=inputs.get("vpcId"),
            TagSpecifications=self.tag_specifications(inputs),
        )
        identifier = str(answer["GroupId"])
        apply_rules(call, identifier, [], egress=True)
        return identifier

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        for direction in ("ingress", "egress"):
            if inputs.get(direction) is not None:  # None leaves the rules to separate rule resources
                apply_rules(call, identifier, inputs[direction], egress=direction == "egress")

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        if outputs.get("revokeRulesOnDelete"):
            for egress in (True, False):
                apply_rules(call, identifier, [], egress=egress)
        self.remove(call, "delete_security_group", GroupId=identifier)


class DefaultSecurityGroup(_GroupHandler):
    """The default group of a VPC. A create adopts it and leaves only the rules of the program; a delete changes nothing."""

    token = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"  # noqa: S105 - a type token
    immutable = frozenset({"vpcId"})
    computed = frozenset({"vpcId"})
    kept = frozenset({"revokeRulesOnDelete"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        named = [{"Name": "group-name", "Values": ["default"]}]
        if inputs.get("vpcId"):
            named.append({"Name": "vpc-id", "Values": [inputs["vpcId"]]})
        group = self.find(call, "describe_security_groups", "SecurityGroups", Filters=named)
        if group is None:
            raise ProviderError(
                f"VPC {inputs.get('vpcId', '(default)')} has no default security group, or does not exist"
            )
        return str(group["GroupId"])

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        for direction in ("ingress", "egress"):
            apply_rules(call, identifier, inputs.get(direction) or [], egress=direction == "egress")
        retag(call, identifier, inputs)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        """Do nothing: AWS does not delete a default group, so it only leaves the state, as in the real plugin."""


class _RuleHandler(Ec2Handler):
    """One rule of a group."""

    kind = "security-group-rule"
    egress: ClassVar[bool]
    immutable = frozenset({"securityGroupId"})

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        return one_of(inputs, *_SOURCES, "referencedSecurityGroupId")

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        direction = "egress" if self.egress else "ingress"
        answer = call.client("ec2").call(
            f"authorize_security_group_{direction}",
            GroupId=inputs["securityGroupId"],
            IpPermissions=[_permission(inputs)],
            TagSpecifications=self.tag_specifications(inputs),
        )
        return str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        rule = self.find(call, "describe_security_group_rules", "SecurityGroupRules", SecurityGroupRuleIds=[identifier])
        if rule is None or rule.get("SecurityGroupRuleId") != identifier:
            return None
        anything = str(rule["IpProtocol"]) == _ANY_PROTOCOL  # the ports of a rule for all protocols have no meaning
        return {
            **{name: rule.get(key) for name, key in _SOURCES.items()},
            "arn": call.arn("ec2", f"security-group-rule/{identifier}"),
            "description": rule.get("Description"),
            "fromPort": previous.get("fromPort") if anything else rule.get("FromPort"),
            "toPort": previous.get("toPort") if anything else rule.get("ToPort"),
            "ipProtocol": str(rule["IpProtocol"]),
            "referencedSecurityGroupId": rule.get("ReferencedGroupInfo", {}).get("GroupId"),
            "securityGroupId": rule["GroupId"],
            "securityGroupRuleId": identifier,
            "tags": tag_map(rule.get("Tags")),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        super().update(call, identifier, news, changed)
        if not changed - {"tags"}:
            return
        values = {key: news.get(name) for name, key in _SOURCES.items()}
        values |= {
            "IpProtocol": news["ipProtocol"],
            "FromPort": news.get("fromPort", -1),
            "ToPort": news.get("toPort", -1),
            "ReferencedGroupId": news.get("referencedSecurityGroupId"),
            "Description": news.get("description"),
        }
        request: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
        call.client("ec2").call(
            "modify_security_group_rules",
            GroupId=news["securityGroupId"],
            SecurityGroupRules=[{"SecurityGroupRuleId": identifier, "SecurityGroupRule": request}],
        )

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        direction = "egress" if self.egress else "ingress"
        try:
            call.client("ec2").call(
                f"revoke_security_group_{direction}",
                GroupId=outputs["securityGroupId"],
                SecurityGroupRuleIds=[identifier],
            )
        except AwsError as error:
            if not is_gone(error):
                raise


class SecurityGroupIngressRule(_RuleHandler):
    """A rule for incoming traffic."""

    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"  # noqa: S105 - a type token
    egress = False


class SecurityGroupEgressRule(_RuleHandler):
    """A rule for outgoing traffic."""

    token = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"  # noqa: S105 - a type token
    egress = True


def _permission(inputs: Properties) -> dict[str, Any]:
    note = {"Description": inputs["description"]} if inputs.get("description") else {}
    permission: dict[str, Any] = {"IpProtocol": inputs["ipProtocol"]}
    if inputs["ipProtocol"] != _ANY_PROTOCOL:
        permission |= {"FromPort": inputs.get("fromPort", -1), "ToPort": inputs.get("toPort", -1)}
    if inputs.get("cidrIpv4"):
        permission["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"], **note}]
    elif inputs.get("cidrIpv6"):
        permission["Ipv6Ranges"] = [{"CidrIpv6": inputs["cidrIpv6"], **note}]
    elif inputs.get("prefixListId"):
        permission["PrefixListIds"] = [{"PrefixListId": inputs["prefixListId"], **note}]
    else:
        permission["UserIdGroupPairs"] = [{"GroupId": inputs["referencedSecurityGroupId"], **note}]
    return permission
