"""IAM: roles, their policies, customer-managed policies, instance profiles, OIDC providers.

Leaves out `inlinePolicies` and `managedPolicyArns` of a role (the programs use the separate resources, and both
together would overwrite each other) and the fetch of a thumbprint from the issuer, which AWS does on its side.
Replacement and defaults follow https://www.pulumi.com/registry/packages/aws/api-docs/iam/.
"""

import contextlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import unquote

from typing_extensions import override

from runner_platform_sandbox.providers.aws.conversion import tag_changes, tag_list, tag_map, timestamp
from runner_platform_sandbox.providers.aws.handler import AutoName, Call, Handler
from runner_platform_sandbox.providers.aws.session import AwsError, Client
from runner_platform_sandbox.providers.stand_in import Properties, ProviderError
from runner_platform_sandbox.providers.validation import Failure

_GONE = {"NoSuchEntity"}
# IAM may not know a principal that was created a second ago.
_NOT_YET = {"MalformedPolicyDocument", "ConcurrentModification"}
_POLICY_VERSIONS = 5


class Role(Handler):
    """A role."""

    token = "aws:iam/role:Role"  # noqa: S105 - a type token
    naming = AutoName(longest=64)
    immutable = frozenset({"name", "namePrefix", "path"})
    defaults: ClassVar[Mapping[str, Any]] = {"forceDetachPolicies": False, "maxSessionDuration": 3600, "path": "/"}
    documents = frozenset({"assumeRolePolicy"})
    kept = frozenset({"forceDetachPolicies", "namePrefix"})
    modelled = frozenset(
        {"assumeRolePolicy", "description", "forceDetachPolicies", "maxSessionDuration", "name", "namePrefix", "path"}
        | {"permissionsBoundary"}
    )

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.retry(
            lambda: call.client("iam").call(
                "create_role",
                RoleName=self.name_of(inputs),
                AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
                Description=inputs.get("description"),
                MaxSessionDuration=inputs["maxSessionDuration"],
                Path=inputs["path"],
                PermissionsBoundary=inputs.get("permissionsBoundary"),
                Tags=tag_list(inputs.get("tags")),
            ),
            _NOT_YET,
        )
        return str(answer["Role"]["RoleName"])

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        answer = call.client("iam").find("get_role", _GONE, RoleName=identifier)
        if answer is None:
            return None
        role = answer["Role"]
        return {
            "arn": role["Arn"],
            "assumeRolePolicy": _document(role["AssumeRolePolicyDocument"]),
            "createDate": role["CreateDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
            "description": role.get("Description"),
            "maxSessionDuration": role.get("MaxSessionDuration", 3600),
            "name": role["RoleName"],
            "path": role["Path"],
            "permissionsBoundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            "tags": tag_map(role.get("Tags")),
            "uniqueId": role["RoleId"],
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        iam = call.client("iam")
        if "assumeRolePolicy" in changed:
            call.retry(
                lambda: iam.call(
                    "update_assume_role_policy", RoleName=identifier, PolicyDocument=news["assumeRolePolicy"]
                ),
                _NOT_YET,
            )
        if "description" in changed:
            iam.call("update_role_description", RoleName=identifier, Description=news.get("description", ""))
        if "maxSessionDuration" in changed:
            iam.call("update_role", RoleName=identifier, MaxSessionDuration=news["maxSessionDuration"])
        if "permissionsBoundary" in changed and news.get("permissionsBoundary"):
            iam.call(
                "put_role_permissions_boundary", RoleName=identifier, PermissionsBoundary=news["permissionsBoundary"]
            )
        elif "permissionsBoundary" in changed:
            iam.find("delete_role_permissions_boundary", _GONE, RoleName=identifier)
        if "tags" in changed:
            _tag(iam, "role", news.get("tags"), RoleName=identifier)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        iam = call.client("iam")
        if outputs.get("forceDetachPolicies"):
            self._empty(iam, identifier)
        for profile in _instance_profiles(iam, identifier):
            iam.find("remove_role_from_instance_profile", _GONE, InstanceProfileName=profile, RoleName=identifier)
        call.retry(lambda: iam.find("delete_role", _GONE, RoleName=identifier), {"DeleteConflict"}, seconds=5)

    @staticmethod
    def _empty(iam: Client, identifier: str) -> None:
        with contextlib.suppress(AwsError):
            for policy in iam.pages("list_attached_role_policies", "AttachedPolicies", RoleName=identifier):
                iam.find("detach_role_policy", _GONE, RoleName=identifier, PolicyArn=policy["PolicyArn"])
            for name in iam.pages("list_role_policies", "PolicyNames", RoleName=identifier):
                iam.find("delete_role_policy", _GONE, RoleName=identifier, PolicyName=name)


class RolePolicy(Handler):
    """A policy inside a role. Its id is `<role>:<name>`."""

    token = "aws:iam/rolePolicy:RolePolicy"  # noqa: S105 - a type token
    naming = AutoName(longest=128)
    immutable = frozenset({"name", "namePrefix", "role"})
    documents = frozenset({"policy"})
    kept = frozenset({"namePrefix"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        name = self.name_of(inputs)
        self._put(call, f"{inputs['role']}:{name}", inputs)
        return f"{inputs['role']}:{name}"

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        role, _, name = identifier.partition(":")
        answer = call.client("iam").find("get_role_policy", _GONE, RoleName=role, PolicyName=name)
        if answer is None:
            return None
        return {"role": role, "name": name, "policy": _document(answer["PolicyDocument"])}

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        self._put(call, identifier, news)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        role, _, name = identifier.partition(":")
        call.client("iam").find("delete_role_policy", _GONE, RoleName=role, PolicyName=name)

    @staticmethod
    def _put(call: Call, identifier: str, inputs: Properties) -> None:
        role, _, name = identifier.partition(":")
        call.retry(
            lambda: call.client("iam").call(
                "put_role_policy", RoleName=role, PolicyName=name, PolicyDocument=inputs["policy"]
            ),
            _NOT_YET,
        )


class RolePolicyAttachment(Handler):
    """A managed policy on a role. Its id, also for an import, is `<role>/<policy ARN>`."""

    token = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"  # noqa: S105 - a type token
    immutable = frozenset({"policyArn", "role"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        role, policy = inputs["role"], inputs["policyArn"]
        call.client("iam").call("attach_role_policy", RoleName=role, PolicyArn=policy)
        return f"{role}/{policy}"

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        role, _, policy = identifier.partition("/")
        try:
            attached = call.client("iam").pages("list_attached_role_policies", "AttachedPolicies", RoleName=role)
        except AwsError as error:
            if error.code in _GONE:
                return None
            raise
        if all(item["PolicyArn"] != policy for item in attached):
            return None
        return {"role": role, "policyArn": policy}

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        role, _, policy = identifier.partition("/")
        call.client("iam").find("detach_role_policy", _GONE, RoleName=role, PolicyArn=policy)


class Policy(Handler):
    """A customer-managed policy. Its id is its ARN."""

    token = "aws:iam/policy:Policy"  # noqa: S105 - a type token
    naming = AutoName(longest=128)
    immutable = frozenset({"name", "namePrefix", "path", "description"})
    defaults: ClassVar[Mapping[str, Any]] = {"path": "/"}
    documents = frozenset({"policy"})
    kept = frozenset({"namePrefix", "delayAfterPolicyCreationInMs", "description"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.client("iam").call(
            "create_policy",
            PolicyName=self.name_of(inputs),
            PolicyDocument=inputs["policy"],
            Path=inputs["path"],
            Description=inputs.get("description"),
            Tags=tag_list(inputs.get("tags")),
        )
        return str(answer["Policy"]["Arn"])

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        iam = call.client("iam")
        answer = iam.find("get_policy", _GONE, PolicyArn=identifier)
        if answer is None:
            return None
        policy = answer["Policy"]
        version = iam.call("get_policy_version", PolicyArn=identifier, VersionId=policy["DefaultVersionId"])
        tags = iam.call("list_policy_tags", PolicyArn=identifier)["Tags"]
        return {
            "arn": policy["Arn"],
            "attachmentCount": policy.get("AttachmentCount", 0),
            "description": policy.get("Description"),
            "name": policy["PolicyName"],
            "path": policy["Path"],
            "policy": _document(version["PolicyVersion"]["Document"]),
            "policyId": policy["PolicyId"],
            "tags": tag_map(tags),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        iam = call.client("iam")
        if "policy" in changed:
            self._make_room(iam, identifier)
            iam.call("create_policy_version", PolicyArn=identifier, PolicyDocument=news["policy"], SetAsDefault=True)
        if "tags" in changed:
            _tag(iam, "policy", news.get("tags"), PolicyArn=identifier)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        iam = call.client("iam")
        for version in (iam.find("list_policy_versions", _GONE, PolicyArn=identifier) or {}).get("Versions", []):
            if not version["IsDefaultVersion"]:
                iam.find("delete_policy_version", _GONE, PolicyArn=identifier, VersionId=version["VersionId"])
        call.retry(lambda: iam.find("delete_policy", _GONE, PolicyArn=identifier), {"DeleteConflict"}, seconds=5)

    @staticmethod
    def _make_room(iam: Client, identifier: str) -> None:
        """Delete the oldest version if the policy has five, AWS's limit."""
        versions = iam.call("list_policy_versions", PolicyArn=identifier)["Versions"]
        spare = sorted((v for v in versions if not v["IsDefaultVersion"]), key=lambda version: version["CreateDate"])
        if len(versions) >= _POLICY_VERSIONS and spare:
            iam.call("delete_policy_version", PolicyArn=identifier, VersionId=spare[0]["VersionId"])


def _tag(iam: Client, kind: str, requested: Mapping[str, str] | None, **identity: str) -> None:
    """Set the tags of a role or a policy."""
    put, remove = tag_changes(tag_map(iam.call(f"list_{kind}_tags", **identity)["Tags"]), requested)
    if remove:
        iam.call(f"untag_{kind}", **identity, TagKeys=remove)
    if put:
        iam.call(f"tag_{kind}", **identity, Tags=tag_list(put))


def _instance_profiles(iam: Client, role: str) -> list[str]:
    answer = iam.find("list_instance_profiles_for_role", _GONE, RoleName=role) or {}
    return [profile["InstanceProfileName"] for profile in answer.get("InstanceProfiles", [])]


def _document(value: object) -> str:
    """Return a document as text; IAM sends it URL-encoded, and botocore decodes some into objects."""
    return unquote(value) if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


class InstanceProfile(Handler):
    """An instance profile, which hands one role to EC2 instances. Its id is its name."""

    token = "aws:iam/instanceProfile:InstanceProfile"  # noqa: S105 - a type token
    naming = AutoName(longest=128)
    immutable = frozenset({"name", "namePrefix", "path"})
    defaults: ClassVar[Mapping[str, Any]] = {"path": "/"}
    kept = frozenset({"namePrefix"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.client("iam").call(
            "create_instance_profile",
            InstanceProfileName=self.name_of(inputs),
            Path=inputs["path"],
            Tags=tag_list(inputs.get("tags")),
        )
        return str(answer["InstanceProfile"]["InstanceProfileName"])

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        iam, requested = call.client("iam"), inputs.get("role")
        profile = iam.call("get_instance_profile", InstanceProfileName=identifier)["InstanceProfile"]
        present = [role["RoleName"] for role in profile.get("Roles", [])]
        for role in present:
            if role != requested:
                self._remove(iam, identifier, role)
        if requested and requested not in present:
            call.retry(
                lambda: iam.call("add_role_to_instance_profile", InstanceProfileName=identifier, RoleName=requested),
                _GONE,  # IAM may not know a role that was created a second ago
            )

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        answer = call.client("iam").find("get_instance_profile", _GONE, InstanceProfileName=identifier)
        if answer is None:
            return None
        profile = answer["InstanceProfile"]
        return {
            "arn": profile["Arn"],
            "createDate": timestamp(profile["CreateDate"]),
            "name": profile["InstanceProfileName"],
            "path": profile["Path"],
            "role": next((role["RoleName"] for role in profile.get("Roles", [])), None),
            "tags": tag_map(profile.get("Tags")),
            "uniqueId": profile["InstanceProfileId"],
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        if "tags" in changed:
            _tag(call.client("iam"), "instance_profile", news.get("tags"), InstanceProfileName=identifier)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        iam = call.client("iam")
        answer = iam.find("get_instance_profile", _GONE, InstanceProfileName=identifier)
        if answer is None:
            return
        for role in answer["InstanceProfile"].get("Roles", []):
            self._remove(iam, identifier, role["RoleName"])
        iam.find("delete_instance_profile", _GONE, InstanceProfileName=identifier)

    @staticmethod
    def _remove(iam: Client, profile: str, role: str) -> None:
        iam.find("remove_role_from_instance_profile", _GONE, InstanceProfileName=profile, RoleName=role)


class OpenIdConnectProvider(Handler):
    """An identity provider. Its id is its ARN."""

    token = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"  # noqa: S105 - a type token
    immutable = frozenset({"url"})
    computed = frozenset({"thumbprintLists"})
    sets = frozenset({"clientIdLists"})

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        url = inputs.get("url")
        if isinstance(url, str) and not url.startswith("https://"):
            return [Failure("url", f"must start with https://, got {url}")]
        return []

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        try:
            answer = call.client("iam").call(
                "create_open_id_connect_provider",
                Url=inputs["url"],
                ClientIDList=inputs["clientIdLists"],
                ThumbprintList=inputs.get("thumbprintLists"),
                Tags=tag_list(inputs.get("tags")),
            )
        except AwsError as error:
            if error.code != "EntityAlreadyExists":
                raise
            raise ProviderError(
                f"{error}. An account has one provider for each URL; import the existing one"
            ) from error
        return str(answer["OpenIDConnectProviderArn"])

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        answer = call.client("iam").find("get_open_id_connect_provider", _GONE, OpenIDConnectProviderArn=identifier)
        if answer is None:
            return None
        return {
            "arn": identifier,
            # AWS returns the URL without the scheme; the real plugin keeps it with the scheme.
            "url": f"https://{answer['Url'].removeprefix('https://')}",
            "clientIdLists": answer.get("ClientIDList", []),
            "thumbprintLists": answer.get("ThumbprintList", []),
            "tags": tag_map(answer.get("Tags")),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        iam = call.client("iam")
        present = iam.call("get_open_id_connect_provider", OpenIDConnectProviderArn=identifier)
        requested = set(news["clientIdLists"])
        for client in sorted(requested - set(present.get("ClientIDList", []))):
            iam.call("add_client_id_to_open_id_connect_provider", OpenIDConnectProviderArn=identifier, ClientID=client)
        for client in sorted(set(present.get("ClientIDList", [])) - requested):
            iam.call(
                "remove_client_id_from_open_id_connect_provider", OpenIDConnectProviderArn=identifier, ClientID=client
            )
        if "thumbprintLists" in changed and news.get("thumbprintLists"):
            iam.call(
                "update_open_id_connect_provider_thumbprint",
                OpenIDConnectProviderArn=identifier,
                ThumbprintList=news["thumbprintLists"],
            )
        put, remove = tag_changes(tag_map(present.get("Tags")), news.get("tags"))
        if remove:
            iam.call("untag_open_id_connect_provider", OpenIDConnectProviderArn=identifier, TagKeys=remove)
        if put:
            iam.call("tag_open_id_connect_provider", OpenIDConnectProviderArn=identifier, Tags=tag_list(put))

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        call.client("iam").find("delete_open_id_connect_provider", _GONE, OpenIDConnectProviderArn=identifier)
