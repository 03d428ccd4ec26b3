"""Security groups and the rules that are resources of their own.

Owns `SecurityGroup`, `DefaultSecurityGroup`, `SecurityGroupIngressRule` and `SecurityGroupEgressRule`; how inline rules
compare is in `ec2_rules`. Source: https://www.pulumi.com/registry/packages/aws/api-docs/ec2/securitygroup/ and vpc/.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from typing_extensions import override

from runner_platform_sandbox.providers.aws.ec2 import Ec2Handler, is_gone, retag
from runner_platform_sandbox.providers.aws.ec2_rules import apply_rules, inline_rules, rule_records, same_rules
from runner_platform_sandbox.providers.aws.naming import AutoName
from runner_platform_sandbox.providers.aws.resource import Call, one_of
from runner_platform_sandbox.providers.aws.session import AwsError
from runner_platform_sandbox.providers.aws.tags import as_map
from runner_platform_sandbox.providers.base import Properties, ProviderError
from runner_platform_sandbox.providers.validation import Failure

_SOURCES = {"cidrIpv4": "CidrIpv4", "cidrIpv6": "CidrIpv6", "prefixListId": "PrefixListId"}
_ANY_PROTOCOL = "-1"


class _Group(Ec2Handler):
    """What the two kinds of group share."""

    kind = "security-group"
    computed = frozenset({"ingress", "egress", "vpcId"})
    equal: ClassVar[Mapping[str, Callable[[Any, Any], bool]]] = {"ingress": same_rules, "egress": same_rules}
    kept = frozenset({"namePrefix", "revokeRulesOnDelete"})
    defaults: ClassVar[Mapping[str, Any]] = {"revokeRulesOnDelete": False}

    @override
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
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
            "tags": as_map(group.get("Tags")),
            "vpcId": group.get("VpcId"),
        }


class SecurityGroup(_Group):
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
        for way in ("ingress", "egress"):
            if inputs.get(way) is not None:  # not given: rules that are resources of their own rule
                apply_rules(call, identifier, inputs[way], egress=way == "egress")

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        if outputs.get("revokeRulesOnDelete"):
            for egress in (True, False):
                apply_rules(call, identifier, [], egress=egress)
        self.remove(call, "delete_security_group", GroupId=identifier)


class DefaultSecurityGroup(_Group):
    """The group that every VPC has. It is adopted: only the given rules stay. Deleting it leaves it as it is."""

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
        for way in ("ingress", "egress"):
            apply_rules(call, identifier, inputs.get(way) or [], egress=way == "egress")
        retag(call, identifier, inputs)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        """AWS does not let a default group be deleted; it only leaves the state, as with the real plugin."""


class _Rule(Ec2Handler):
    """One rule of a group."""

    kind = "security-group-rule"
    egress: ClassVar[bool]
    immutable = frozenset({"securityGroupId"})

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        return one_of(inputs, *_SOURCES, "referencedSecurityGroupId")

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        way = "egress" if self.egress else "ingress"
        answer = call.client("ec2").call(
            f"authorize_security_group_{way}",
            GroupId=inputs["securityGroupId"],
            IpPermissions=[_permission(inputs)],
            TagSpecifications=self.tag_specifications(inputs),
        )
        return str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    @override
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
        rule = self.find(call, "describe_security_group_rules", "SecurityGroupRules", SecurityGroupRuleIds=[identifier])
        if rule is None or rule.get("SecurityGroupRuleId") != identifier:
            return None
        anything = str(rule["IpProtocol"]) == _ANY_PROTOCOL  # the ports of such a rule mean nothing
        return {
            **{name: rule.get(key) for name, key in _SOURCES.items()},
            "arn": call.arn("ec2", f"security-group-rule/{identifier}"),
            "description": rule.get("Description"),
            "fromPort": known.get("fromPort") if anything else rule.get("FromPort"),
            "toPort": known.get("toPort") if anything else rule.get("ToPort"),
            "ipProtocol": str(rule["IpProtocol"]),
            "referencedSecurityGroupId": rule.get("ReferencedGroupInfo", {}).get("GroupId"),
            "securityGroupId": rule["GroupId"],
            "securityGroupRuleId": identifier,
            "tags": as_map(rule.get("Tags")),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        super().update(call, identifier, news, changed)
        if not changed - {"tags"}:
            return
        wanted = {key: news.get(name) for name, key in _SOURCES.items()}
        wanted |= {
            "IpProtocol": news["ipProtocol"],
            "FromPort": news.get("fromPort", -1),
            "ToPort": news.get("toPort", -1),
            "ReferencedGroupId": news.get("referencedSecurityGroupId"),
            "Description": news.get("description"),
        }
        request: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
        call.client("ec2").call(
            "modify_security_group_rules",
            GroupId=news["securityGroupId"],
            SecurityGroupRules=[{"SecurityGroupRuleId": identifier, "SecurityGroupRule": request}],
        )

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        way = "egress" if self.egress else "ingress"
        try:
            call.client("ec2").call(
                f"revoke_security_group_{way}",
                GroupId=outputs["securityGroupId"],
                SecurityGroupRuleIds=[identifier],
            )
        except AwsError as error:
            if not is_gone(error):
                raise


class SecurityGroupIngressRule(_Rule):
    """A rule for traffic that comes in."""

    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"  # noqa: S105 - a type token
    egress = False


class SecurityGroupEgressRule(_Rule):
    """A rule for traffic that goes out."""

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
