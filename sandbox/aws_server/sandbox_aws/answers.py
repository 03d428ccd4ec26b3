"""Answers in the formats of the AWS protocols: status, headers, body, as MiniStack's handlers return them."""

from __future__ import annotations

import json
import uuid
from typing import Any
from xml.sax.saxutils import escape

Answer = tuple[int, dict[str, str], Any]
"""Status, headers, body (bytes, or MiniStack's streaming object)."""

_NAMESPACES = {
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
}


def as_json(body: Any, status: int = 200) -> Answer:
    """Answer with a JSON document."""
    return status, {"Content-Type": "application/json"}, json.dumps(body).encode()


def json_error(status: int, code: str, message: str) -> Answer:
    """Answer with an error of a JSON protocol (EKS, ECR, Logs)."""
    headers = {"Content-Type": "application/json", "x-amzn-errortype": code}
    return status, headers, json.dumps({"__type": code, "message": message}).encode()


def query_error(status: int, code: str, message: str, service: str = "sts") -> Answer:
    """Answer with an error of the query protocol (STS, IAM)."""
    body = (
        f'<ErrorResponse xmlns="{_NAMESPACES[service]}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{escape(message)}</Message></Error><RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
    )
    return status, {"Content-Type": "text/xml"}, body.encode()


def query_result(operation: str, result: str = "", service: str = "iam") -> Answer:
    """Answer a query operation; `result` is the XML inside its result element."""
    inner = f"<{operation}Result>{result}</{operation}Result>" if result else ""
    body = (
        f'<{operation}Response xmlns="{_NAMESPACES[service]}">{inner}'
        f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata></{operation}Response>"
    )
    return 200, {"Content-Type": "text/xml"}, body.encode()


def s3_error(status: int, code: str, message: str) -> Answer:
    """Answer with an error of S3."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>'
    return status, {"Content-Type": "application/xml"}, body.encode()
