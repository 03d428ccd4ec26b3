"""Random worlds, and questions about them, from a seed.

Documents are drawn so that about a third of the questions is answered with yes: names, tags and values come from small sets.
Values of tags have no wildcards and are not empty, since the documentation does not say what they would mean.
"""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

from tests.access.oracle.requests import pod_tags
from tests.access.oracle.world import (
    Act,
    AssumeRole,
    AssumeRoleForPod,
    AssumeRoleWithToken,
    Document,
    Provider,
    Question,
    Resource,
    Role,
    Session,
    Tags,
    World,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

ACCOUNTS = ("111122223333", "444455556666", "777788889999")
ORGANIZATIONS = {ACCOUNTS[0]: "o-aaaaaaaaaa", ACCOUNTS[1]: "o-aaaaaaaaaa", ACCOUNTS[2]: None}
NOW = "2026-11-30T09:00:00Z"
SOURCE_IP = "203.0.113.77"
PATHS = ("/", "/", "/cicd/", "/team/ops/")
ROLE_NAMES = ("job", "job-open", "deploy", "deploy-prod", "reader", "manager")
SESSION_NAMES = ("small", "medium", "chained", "ops")
TAGS = {"Team": ("blue", "green"), "Level": ("open", "protected"), "Project": ("group/app", "group/web")}
ISSUER = "gitlab.example.com"
SUBJECTS = (
    "project_path:group/app:ref_type:branch:ref:main",
    "project_path:group/app:ref_type:tag:ref:v1",
    "project_path:group/web:ref_type:branch:ref:main",
)
AUDIENCES = ("sts.amazonaws.com", "https://gitlab.example.com")
CLUSTERS = tuple(f"arn:aws:eks:eu-central-1:{ACCOUNTS[0]}:cluster/{name}" for name in ("runners", "tools"))
NAMESPACES = ("job-small", "job-deploy")
SERVICE_ACCOUNTS = ("job", "manager")
BUCKETS = ("state", "cache")
S3_ACTIONS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObjectVersion")
KMS_ACTIONS = ("kms:Decrypt", "kms:PutKeyPolicy")
ECR_ACTIONS = ("ecr:BatchGetImage", "ecr:PutImage")
ACTIONS = {"s3": S3_ACTIONS, "kms": KMS_ACTIONS, "ecr": ECR_ACTIONS}
_ACTION_PATTERNS: tuple[Any, ...] = (
    "*",
    "sts:AssumeRole",
    "sts:AssumeRole",
    ["sts:AssumeRole", "sts:TagSession"],
    ["sts:AssumeRole", "sts:TagSession"],
    "sts:*",
    "sts:assume*",
    "s3:*",
    "s3:Get*",
    ["s3:GetObject", "S3:PUTOBJECT"],
    "s3:???Object",
    "kms:*",
    "kms:Decrypt",
    "ecr:*",
    ["ecr:BatchGetImage", "s3:*", "kms:Decrypt"],
)


def random_world(seed: int) -> tuple[World, list[Question]]:
    """Return the world of a seed, and questions about it."""
    return _Maker(Random(seed)).make()  # noqa: S311  # worlds, no secrets


class _Maker:
    """Draws the parts of a world."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.role_arns: list[str] = []
        self.session_arns: list[str] = []
        self.resource_arns: list[str] = []

    def make(self) -> tuple[World, list[Question]]:
        """Draw names first, so that documents can refer to them, then documents, then questions."""
        names = self._names()
        session_names = [(self.random.randrange(len(names)), self.random.choice(SESSION_NAMES)) for _ in range(4)]
        self.role_arns = [f"arn:aws:iam::{account}:role{path}{name}" for account, path, name in names]
        self.session_arns = [
            f"arn:aws:sts::{names[index][0]}:assumed-role/{names[index][2]}/{name}" for index, name in session_names
        ]
        resources = self._resources()
        self.resource_arns = list(resources)
        roles = {role.arn: role for role in (self._role(index, *name) for index, name in enumerate(names))}
        sessions = tuple(self._session(self.role_arns[index], name) for index, name in session_names)
        world = World(
            now=NOW,
            source_ip=SOURCE_IP,
            organizations=dict(ORGANIZATIONS),
            roles=roles,
            sessions=sessions,
            resources={arn: self._with_policy(resource) for arn, resource in resources.items()},
            providers=tuple(
                Provider(account=account, issuer=ISSUER, audiences=AUDIENCES[: self.random.randint(1, 2)])
                for account in ACCOUNTS[:2]
            ),
        )
        return world, self._questions(world)

    def maybe(self, probability: float) -> bool:
        """Return True with a probability."""
        return self.random.random() < probability

    def some(self, values: Sequence[Any], most: int = 2) -> Any:
        """Return one value, or a list of a few: JSON policies allow both."""
        if self.maybe(0.6):
            return self.random.choice(values)
        return self.random.sample(list(values), min(len(values), self.random.randint(1, most)))

    def tags(self, probability: float = 0.6) -> Tags:
        """Draw tags."""
        return {key: self.random.choice(values) for key, values in TAGS.items() if self.maybe(probability)}

    def _names(self) -> list[tuple[str, str, str]]:
        names = self.random.sample(ROLE_NAMES, 5)
        accounts = [self.random.choice((*ACCOUNTS[:1] * 3, *ACCOUNTS)) for _ in names]
        return [(account, self.random.choice(PATHS), name) for account, name in zip(accounts, names, strict=True)]

    def _role(self, index: int, account: str, path: str, name: str) -> Role:
        return Role(
            account=account,
            path=path,
            name=name,
            role_id=f"AROAEXAMPLE{index}",
            trust=self._trust(account),
            policies=tuple(self._identity_policy() for _ in range(self.random.choice((0, 1, 1, 2, 2)))),
            boundary=self._limit() if self.maybe(0.3) else None,
            tags=self.tags(0.4),
        )

    def _session(self, role: str, name: str) -> Session:
        policy = self._limit() if self.maybe(0.25) else None
        if self.maybe(0.15):
            tags = pod_tags(self._pod_question(role))
            return Session(role=role, name=name, tags=tags, transitive=frozenset(tags))
        tags = self.tags(0.35)
        return Session(
            role=role,
            name=name,
            tags=tags,
            transitive=frozenset(key for key in tags if self.maybe(0.3)),
            inherited={key: value for key, value in self.tags(0.15).items() if key not in tags},
            policy=policy,
        )

    def _resources(self) -> dict[str, Resource]:
        account = self.random.choice((ACCOUNTS[0], *ACCOUNTS[:2]))
        arns = {
            **{f"arn:aws:s3:::{name}": "s3" for name in BUCKETS},
            f"arn:aws:kms:eu-central-1:{account}:key/1234": "kms",
            f"arn:aws:ecr:eu-central-1:{account}:repository/open/runner": "ecr",
        }
        return {
            arn: Resource(arn=arn, account=account, service=service, tags=self.tags(0.5) if service != "s3" else {})
            for arn, service in arns.items()
        }

    # Conditions

    def _condition(self, keys: Sequence[str]) -> dict[str, Any]:
        """Draw a condition block over one or two of the keys."""
        block: dict[str, dict[str, Any]] = {}
        for key in self.random.sample(list(keys), self.random.choice((1, 1, 2))):
            operator, values = self._test(key)
            block.setdefault(operator, {})[key] = values
        return block

    def _test(self, key: str) -> tuple[str, Any]:
        """Draw an operator for a key, and values."""
        if self.maybe(0.08):
            return "Null", self.random.choice(("true", "false"))
        kind, values = self._domain(key)
        operators = {
            "string": (
                "StringEquals",
                "StringEquals",
                "StringLike",
                "StringEqualsIgnoreCase",
                "StringNotEquals",
                "StringNotLike",
                "StringNotEqualsIgnoreCase",
            ),
            "arn": ("ArnLike", "ArnEquals", "StringLike", "StringEquals", "ArnNotLike", "ArnNotEquals"),
            "list": ("StringEquals", "StringLike", "StringNotEquals", "StringNotLike"),
            "bool": ("Bool",),
            "ip": ("IpAddress", "NotIpAddress"),
            "date": (
                "DateGreaterThan",
                "DateLessThan",
                "DateGreaterThanEquals",
                "DateLessThanEquals",
                "DateEquals",
                "DateNotEquals",
            ),
            "number": (
                "NumericGreaterThan",
                "NumericLessThan",
                "NumericLessThanEquals",
                "NumericGreaterThanEquals",
                "NumericEquals",
                "NumericNotEquals",
            ),
        }
        operator = self.random.choice(operators[kind])
        if self.maybe(0.2):
            operator += "IfExists"
        if kind == "list" or (kind == "string" and self.maybe(0.05)):
            operator = f"{self.random.choice(('ForAllValues', 'ForAnyValue'))}:{operator}"
        return operator, self.some(values)

    def _domain(self, key: str) -> tuple[str, list[str]]:
        """Return the kind of a key, and values to compare it with."""
        prefix, _, name = key.partition("/")
        if prefix in {"aws:PrincipalTag", "aws:RequestTag", "aws:ResourceTag", "iam:ResourceTag"}:
            values = [*TAGS.get(name, (*NAMESPACES, *SERVICE_ACCOUNTS)), "*", "b*", "GREEN", "?pen"]
            return "string", [*values, "${aws:PrincipalTag/Team}", "${aws:ResourceTag/Level, 'open'}"]
        if key in {"aws:PrincipalArn", "aws:SourceArn"}:
            arns = [*self.role_arns, f"arn:aws:iam::{ACCOUNTS[0]}:role/cicd/*", "arn:aws:iam::*:role/*", *CLUSTERS]
            return "arn", [*arns, "arn:aws:iam::${aws:PrincipalAccount}:role/job*"]
        if key.startswith(ISSUER):
            return "string", [
                *SUBJECTS,
                *AUDIENCES,
                "project_path:group/app:*",
                "project_path:group/*:ref_type:branch:ref:main",
            ]
        domains: dict[str, tuple[str, list[str]]] = {
            "aws:PrincipalAccount": ("string", [*ACCOUNTS]),
            "aws:ResourceAccount": ("string", [*ACCOUNTS]),
            "aws:SourceAccount": ("string", [*ACCOUNTS]),
            "aws:PrincipalOrgID": ("string", ["o-aaaaaaaaaa", "o-bbbbbbbbbb", "o-*"]),
            "aws:PrincipalType": ("string", ["AssumedRole", "User", "Assumed*"]),
            "aws:userid": ("string", ["AROAEXAMPLE0:*", "AROAEXAMPLE1:small", "*:ops", "AROAEXAMPLE?:chained"]),
            "aws:TagKeys": ("list", [*TAGS, "Other", "*", "kubernetes-*"]),
            "sts:TransitiveTagKeys": ("list", [*TAGS, "*"]),
            "sts:ExternalId": ("string", ["secret-1", "secret-2"]),
            "sts:RoleSessionName": ("string", ["chained", "c*", "${aws:PrincipalTag/Team}"]),
            "aws:SecureTransport": ("bool", ["true", "false"]),
            "aws:MultiFactorAuthPresent": ("bool", ["true", "false"]),
            "aws:SourceIp": ("ip", ["203.0.113.0/24", "198.51.100.0/24", "203.0.113.77", "2001:db8::/32"]),
            "aws:CurrentTime": ("date", ["2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z", NOW]),
            "aws:EpochTime": ("number", ["1700000000", "1900000000"]),
        }
        return domains[key]

    # Documents

    def _identity_statement(self) -> dict[str, Any]:
        statement: dict[str, Any] = {"Effect": "Deny" if self.maybe(0.1) else "Allow"}
        if self.maybe(0.08):
            statement["NotAction"] = self.some(["iam:*", "s3:Delete*", "sts:*"])
        else:
            statement["Action"] = self.random.choice(_ACTION_PATTERNS)
        resources = [
            *self.role_arns,
            *self.role_arns,
            *self.resource_arns,
            *(f"arn:aws:s3:::{name}/*" for name in BUCKETS),
            "arn:aws:iam::*:role/*",
            f"arn:aws:iam::{ACCOUNTS[0]}:role/cicd/*",
            "arn:aws:iam::*:role/team/ops/deploy*",
            "arn:aws:s3:::state/${aws:PrincipalTag/Team}/*",
            "arn:aws:s3:::*/${aws:PrincipalTag/Team, 'green'}/*",
        ]
        statement["NotResource" if self.maybe(0.07) else "Resource"] = (
            "*" if self.maybe(0.5) else self.some(resources, 4)
        )
        if self.maybe(0.35):
            keys = ["aws:PrincipalArn", "aws:PrincipalAccount", "aws:PrincipalOrgID", "aws:PrincipalType", "aws:userid"]
            keys += [f"aws:PrincipalTag/{key}" for key in (*TAGS, "kubernetes-namespace")] + [
                f"aws:ResourceTag/{key}" for key in TAGS
            ]
            keys += [
                "iam:ResourceTag/Level",
                "aws:RequestTag/Team",
                "aws:TagKeys",
                "sts:ExternalId",
                "sts:RoleSessionName",
            ]
            keys += [
                "aws:CurrentTime",
                "aws:EpochTime",
                "aws:SourceIp",
                "aws:SecureTransport",
                "aws:ResourceAccount",
                "aws:SourceAccount",
            ]
            statement["Condition"] = self._condition(keys)
        return statement

    def _document(self, statements: list[dict[str, Any]]) -> Document:
        version = "2008-10-17" if self.maybe(0.05) else "2012-10-17"
        return {
            "Version": version,
            "Statement": statements[0] if len(statements) == 1 and self.maybe(0.2) else statements,
        }

    def _identity_policy(self) -> Document:
        return self._document([self._identity_statement() for _ in range(self.random.randint(1, 3))])

    def _limit(self) -> Document:
        """Draw a permissions boundary or session policy: many allow most things."""
        statements = [self._identity_statement() for _ in range(self.random.randint(1, 2))]
        if self.maybe(0.5):
            statements.append({"Effect": "Allow", "Action": ["sts:*", "s3:*"], "Resource": "*"})
        return self._document(statements)

    def _principal(self, account: str) -> Any:
        """Draw the principal of a trust or resource policy."""
        root = f"arn:aws:iam::{account}:root"
        entries = [
            *self.role_arns,
            *self.role_arns,
            *self.session_arns,
            root,
            account,
            *(f"arn:aws:iam::{name}:root" for name in ACCOUNTS[:2]),
        ]
        return self.random.choice(("*", {"AWS": "*"})) if self.maybe(0.15) else {"AWS": self.some(entries, 3)}

    def _trust_statement(self, account: str) -> dict[str, Any]:
        effect = "Deny" if self.maybe(0.13) else "Allow"
        kind = self.random.choice(("AWS", "AWS", "AWS", "Federated", "Service"))
        keys = ["aws:PrincipalArn", "aws:PrincipalAccount", "aws:PrincipalOrgID", "aws:PrincipalType", "aws:userid"]
        keys += [f"aws:PrincipalTag/{key}" for key in (*TAGS, "kubernetes-namespace")] + [
            f"aws:RequestTag/{key}" for key in TAGS
        ]
        keys += [
            "aws:TagKeys",
            "sts:TransitiveTagKeys",
            "sts:ExternalId",
            "sts:RoleSessionName",
            "aws:ResourceTag/Level",
        ]
        keys += ["aws:CurrentTime", "aws:SourceIp", "aws:SourceAccount", "aws:MultiFactorAuthPresent"]
        principal, action = (
            self._principal(account),
            self.random.choice(
                ("sts:AssumeRole", ["sts:AssumeRole", "sts:TagSession"], ["sts:AssumeRole", "sts:TagSession"], "sts:*")
            ),
        )
        if kind == "Federated":
            issuer = self.random.choice((ISSUER, ISSUER, ISSUER, "gitlab.example.org"))
            principal = {"Federated": f"arn:aws:iam::{account}:oidc-provider/{issuer}"}
            action = self.random.choice(
                ("sts:AssumeRoleWithWebIdentity", ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"])
            )
            keys = [
                f"{ISSUER}:sub",
                f"{ISSUER}:sub",
                f"{ISSUER}:aud",
                f"{ISSUER}:project_path",
                "aws:RequestTag/Team",
                "sts:RoleSessionName",
            ]
        elif kind == "Service":
            principal = {"Service": self.some(["pods.eks.amazonaws.com", "ec2.amazonaws.com"])}
            keys = [
                "aws:RequestTag/kubernetes-namespace",
                "aws:RequestTag/kubernetes-service-account",
                "aws:SourceArn",
                "aws:SourceAccount",
                "aws:TagKeys",
            ]
        statement = {"Effect": effect, "Principal": principal, "Action": action}
        if self.maybe(0.003):
            statement["NotPrincipal"] = statement.pop("Principal")
        if self.maybe(0.5):
            statement["Condition"] = self._condition(keys)
        return statement

    def _trust(self, account: str) -> Document:
        return self._document([self._trust_statement(account) for _ in range(self.random.randint(1, 3))])

    def _with_policy(self, resource: Resource) -> Resource:
        if resource.service != "kms" and self.maybe(0.3):
            return resource
        statements = [self._resource_statement(resource) for _ in range(self.random.randint(1, 3))]
        if resource.service == "kms" and self.maybe(0.5):
            root = {"AWS": f"arn:aws:iam::{resource.account}:root"}
            statements.append({"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"})
        return Resource(
            arn=resource.arn,
            account=resource.account,
            service=resource.service,
            policy=self._document(statements),
            tags=resource.tags,
        )

    def _resource_statement(self, resource: Resource) -> dict[str, Any]:
        effect = "Deny" if self.maybe(0.25) else "Allow"
        principal = self._principal(resource.account)
        statement: dict[str, Any] = {"Effect": effect, "Principal": principal}
        if effect == "Deny" and principal != "*" and self.maybe(0.25):
            role = self.random.randrange(len(self.role_arns))
            account = self.role_arns[role].split(":")[4]
            names = [self.role_arns[role], f"arn:aws:iam::{account}:root", *self.session_arns]
            statement["NotPrincipal"] = {"AWS": self.random.sample(names, self.random.randint(1, len(names)))}
            del statement["Principal"]
        actions = ACTIONS[resource.service]
        statement["Action"] = self.some([*actions, f"{resource.service}:*", f"{resource.service}:*Object*"])
        if resource.service == "s3":
            statement["Resource"] = (
                [resource.arn, f"{resource.arn}/*"]
                if self.maybe(0.7)
                else f"{resource.arn}/${{aws:PrincipalTag/Team}}/*"
            )
        elif resource.service == "kms":
            statement["Resource"] = "*"
        if self.maybe(0.45):
            keys = [
                "aws:PrincipalArn",
                "aws:PrincipalArn",
                "aws:PrincipalAccount",
                "aws:PrincipalOrgID",
                "aws:PrincipalType",
            ]
            keys += ["aws:userid", "aws:SourceIp", "aws:SecureTransport", "aws:SourceArn", "aws:CurrentTime"]
            keys += [f"aws:PrincipalTag/{key}" for key in TAGS] + (
                [f"aws:ResourceTag/{key}" for key in TAGS] if resource.service != "s3" else []
            )
            statement["Condition"] = self._condition(keys)
        return statement

    # Questions

    def _questions(self, world: World) -> list[Question]:
        roles = list(world.roles)
        questions: list[Question] = []
        for _ in range(10):
            role = self.random.choice(roles)
            tags = self.tags(0.4) if self.maybe(0.3) else {}
            questions.append(
                AssumeRole(
                    session=self._caller(world, world.roles[role].trust),
                    role=role,
                    session_name=self.random.choice(SESSION_NAMES),
                    external_id=self.random.choice((None, None, "secret-1")),
                    tags=tags,
                    transitive=frozenset(key for key in tags if self.maybe(0.3)),
                )
            )
        questions += [self._act(world) for _ in range(10)]
        federated = [arn for arn in roles if "Federated" in str(world.roles[arn].trust)]
        for_services = [arn for arn in roles if "pods.eks" in str(world.roles[arn].trust)]
        questions += [
            AssumeRoleWithToken(
                role=self.random.choice(federated or roles),
                issuer=ISSUER,
                subject=self.random.choice(SUBJECTS),
                audience=self.random.choice((*AUDIENCES, AUDIENCES[0])),
                claims={"project_path": "group/app"},
                tags=self.tags(0.4) if self.maybe(0.3) else {},
            )
            for _ in range(3)
        ]
        questions += [self._pod_question(self.random.choice(for_services or roles)) for _ in range(2)]
        return questions

    def _caller(self, world: World, document: Document | None) -> Session:
        """Draw a session, rather than not from those that a document names or that live in an account it names."""
        text = json.dumps(document)
        likely = [
            session
            for session in world.sessions
            if session.role in text
            or f":assumed-role/{world.roles[session.role].name}/{session.name}" in text
            or f"{world.roles[session.role].account}:root" in text
        ]
        return self.random.choice(likely if likely and self.maybe(0.7) else world.sessions)

    def _pod_question(self, role: str) -> AssumeRoleForPod:
        return AssumeRoleForPod(
            role=role,
            cluster=self.random.choice(CLUSTERS),
            namespace=self.random.choice(NAMESPACES),
            service_account=self.random.choice(SERVICE_ACCOUNTS),
        )

    def _act(self, world: World) -> Act:
        resource = self.random.choice(list(world.resources.values()))
        arn = f"{resource.arn}/{self.random.choice(TAGS['Team'])}/file" if resource.service == "s3" else resource.arn
        action = self.random.choice(ACTIONS[resource.service])
        return Act(session=self._caller(world, resource.policy), action=action, resource=arn)
