"""A stand-in on loopback of the services that hand out identities: STS, the container endpoint, the metadata service.

It decides as AWS does for the platform's roles: a token opens the class's role alone, and only the class's role opens the delegated ones.
An access key id carries its own ARN, so it keeps no state.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME = "222222222222"
SESSION_KEY = "ASIA"
END = "2099-01-01T00:00:00Z"
NAMES = {
    f"{HOME}:assumed-role/runner-small": "class",
    f"{HOME}:assumed-role/runner-other": "other-class",
    f"{HOME}:assumed-role/delegated-role-open": "cicd",
    "333333333333:assumed-role/delegated-role-open": "dev",
    f"{HOME}:assumed-role/pod-identity": "container",
    f"{HOME}:assumed-role/node": "node",
    "444444444444:user/somebody": "keys",
}
"""Short names of identities, by account and resource."""


def name_of(arn: str) -> str:
    """Return the short name of an identity."""
    match = re.fullmatch(r"arn:aws:\w+::(\d+:(?:assumed-role|user)/[^/]+)(?:/.*)?", arn)
    return NAMES[match[1]] if match else arn


@contextmanager
def serving() -> Iterator[str]:
    """Run the stand-in and yield its URL."""
    server = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # a busy machine accepts late, and a refused connection would be recorded as an answer


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        form = {
            name: values[0]
            for name, values in parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()
        }
        key = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
        self._answer(*_sts(form, _caller(key[1]) if key else ""))

    def do_GET(self) -> None:
        if self.path == "/container":
            allowed = self.headers.get("Authorization") in {None, "from-a-file"}
            self._answer(200 if allowed else 401, json.dumps(_session("pod-identity")))
        elif self.path.endswith("/security-credentials/"):
            self._answer(200, "node")
        elif self.path.endswith("/security-credentials/node"):
            self._answer(200, json.dumps({"Code": "Success", "Type": "AWS-HMAC", **_session("node")}))
        else:
            self._answer(404, "")

    def do_PUT(self) -> None:
        self._answer(200, "token")

    def _answer(self, status: int, body: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "text/xml" if body.startswith("<") else "application/json")
        self.send_header("X-aws-ec2-metadata-token-ttl-seconds", "60")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        del format, args


def _session(role: str) -> dict[str, str]:
    arn = f"arn:aws:sts::{HOME}:assumed-role/{role}/session"
    return {"AccessKeyId": _key(arn), "SecretAccessKey": "secret", "Token": "token", "Expiration": END}


def _key(arn: str) -> str:
    return SESSION_KEY + arn.encode().hex().upper()


def _caller(key: str) -> str:
    if key.startswith(SESSION_KEY):
        return bytes.fromhex(key.removeprefix(SESSION_KEY)).decode()
    return "arn:aws:iam::444444444444:user/somebody"


def _sts(form: dict[str, str], caller: str) -> tuple[int, str]:
    action = form["Action"]
    if action == "GetCallerIdentity":
        result = f"<Arn>{caller}</Arn><UserId>id</UserId><Account>{caller.split(':')[4]}</Account>"
        return 200, _document(action, result)
    target = form["RoleArn"]
    is_class_role = ":role/cicd/runner-" in target
    if not (is_class_role if action == "AssumeRoleWithWebIdentity" else "assumed-role/runner-small/" in caller):
        return 403, _document(
            "Error", f"<Error><Code>AccessDenied</Code><Message>{action}</Message></Error>", "Response"
        )
    account, role = target.split(":")[4], target.rpartition("/")[2]
    arn = f"arn:aws:sts::{account}:assumed-role/{role}/{form['RoleSessionName']}"
    result = (
        f"<Credentials><AccessKeyId>{_key(arn)}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>"
        f"<SessionToken>token</SessionToken><Expiration>{END}</Expiration></Credentials>"
        f"<AssumedRoleUser><Arn>{arn}</Arn><AssumedRoleId>id:session</AssumedRoleId></AssumedRoleUser>"
    )
    return 200, _document(action, result)


def _document(action: str, content: str, kind: str = "Result") -> str:
    inner = content if kind == "Response" else f"<{action}Result>{content}</{action}Result>"
    space = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
    return f"<{action}Response {space}>{inner}<RequestId>request</RequestId></{action}Response>"
