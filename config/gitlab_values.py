"""Values that name things of a GitLab instance: its address, its certificate authority, projects, branches and tags.

Sources: https://docs.gitlab.com/user/reserved_names/ (paths of projects and groups), https://git-scm.com/docs/git-check-ref-format
(branches and tags), https://www.rfc-editor.org/rfc/rfc1123 (hosts) and
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html (an issuer has no port)
"""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator

from config.errors import FieldError, quoted
from config.values import Allowed, pattern, url_pattern

LAST_PORT: Final = 65535
HTTPS_PORT: Final = 443
LONGEST_HOST: Final = 253
LONGEST_REF: Final = 244
LONGEST_PROJECT: Final = 512
LONGEST_ISSUER: Final = 255
"""Characters of an issuer's address, and of an audience. Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html"""
LARGEST_BUNDLE: Final = 512 * 1024
"""Characters of a certificate bundle; a Secret holds a mebibyte with everything else in it."""
_IN_LINES = re.compile(r"^-----BEGIN CERTIFICATE-----\s*$", re.MULTILINE)
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_SEGMENT = r"[\w.][\w.-]*"
_FORBIDDEN_IN_REF = re.compile(r"[\x00-\x20\x7f\ud800-\udfff~^:?\[\\$]|\.\.|@\{|//|^[/.-]|/\.|[/.]$|\.lock(/|$)")


def _check_url(value: str) -> str:
    host, port = host_and_port(value)
    path = urlsplit(value).path
    if path.endswith("/api/v4"):
        raise FieldError(f"{quoted(value)} is the address of the API; drop /api/v4")
    if path and host == "gitlab.com":
        raise FieldError(f"{quoted(value)} is a page of gitlab.com; write https://gitlab.com")
    if len(host) > LONGEST_HOST:
        raise FieldError(
            f"{quoted(value)} has a host of {len(host)} characters; the limit is {LONGEST_HOST}: write the host that DNS knows"
        )
    if port and not 1 <= int(port) <= LAST_PORT:
        raise FieldError(f"{quoted(value)} has port {port}; write a port from 1 to {LAST_PORT}")
    if port and int(port) == HTTPS_PORT:
        raise FieldError(
            f"{quoted(value)} names the port of https, which GitLab leaves out of its own address; drop :{port}"
        )
    return value


def issuer_problem(url: str) -> str | None:
    """Return why IAM takes no ID tokens of an instance, with the remedy, else None."""
    host, port = host_and_port(url)
    if port:
        return f"has port {port}, and IAM takes no issuer of ID tokens with a port: serve GitLab at port 443 (external_url without a port)"
    if len(url) > LONGEST_ISSUER:
        return f"has {len(url)} characters, and IAM takes {LONGEST_ISSUER} of an issuer of ID tokens: give GitLab a shorter address"
    if "." not in host or re.fullmatch(r"[0-9.]+", host) or host.endswith((".local", ".localhost")):
        return "is no name that AWS can look up, and AWS reads the issuer's keys there: give GitLab a public DNS name"
    return None


def host_and_port(url: str) -> tuple[str, str]:
    """Return host and port in the address of an instance; the port is empty if the address names none."""
    host, _, port = urlsplit(url).netloc.partition(":")
    return host, port


def _check_bundle(value: str) -> str:
    """Check that a bundle holds certificates and nothing secret; the error never repeats it."""
    from cryptography import x509  # noqa: PLC0415  # slow to import, and few stacks have a bundle

    if "PRIVATE KEY" in value:
        raise FieldError("holds a private key; write certificates only, and replace that key, since it was in a file")
    if len(value) > LARGEST_BUNDLE:
        raise FieldError(
            f"has {len(value)} characters, more than the {LARGEST_BUNDLE} that a Secret holds; write only the authority's certificates"
        )
    try:
        # The runner reads lines; cryptography also takes a certificate on one line.
        certificates = x509.load_pem_x509_certificates(value.encode()) if _IN_LINES.search(value) else []
    except ValueError:
        certificates = []
    if not certificates:
        raise FieldError(
            "is not a certificate in PEM; write the text from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----, "
            "of one or more certificates (`openssl x509 -in <file> -text` shows one)"
        )
    return value


def check_ref(value: str) -> str:
    """Return the short name of a branch or tag, which may hold `*`.

    Raises:
        FieldError: Git has no such name, or the value is `refs/heads/…`.
    """
    if value.startswith("refs/"):
        raise FieldError(f"{quoted(value)} is a full name; write what comes after refs/heads/ or refs/tags/")
    if not value or len(value) > LONGEST_REF or _FORBIDDEN_IN_REF.search(value):
        raise FieldError(
            f"{quoted(value)} is not a name of a branch or tag; write one as `git branch` or `git tag` shows it"
        )
    return value


def _check_project(value: str) -> str:
    if len(value) > LONGEST_PROJECT:
        raise FieldError(
            f"{quoted(value)} has {len(value)} characters, more than the {LONGEST_PROJECT} that fit into the trust of a role; choose a project with a shorter path"
        )
    if any(part in {".", ".."} or part.endswith((".git", ".atom", ".")) for part in value.split("/")):
        raise FieldError(
            f"{quoted(value)} is not the full path of a project; write it as the project's address has it, without .git"
        )
    return value


def _check_project_pattern(value: str) -> str:
    if "*" in value.partition("/")[0]:
        raise FieldError(
            f"{quoted(value)} has a wildcard in the group: anybody can make a group of that name on the instance; "
            "write the top-level group in full, such as group/*"
        )
    return value


GitLabUrl = Annotated[
    str,
    url_pattern(
        rf"https://{_LABEL}(\.{_LABEL})*(:[0-9]{{1,5}})?(/[A-Za-z0-9_][\w.-]*)*",
        "is not the root of a GitLab instance; write https:// and the host name (and the path, if GitLab is below one), with no slash at the end",
    ),
    AfterValidator(_check_url),
    Allowed("`https://`, the host, and port and path if GitLab has them; no `/` at the end"),
]
"""The root of a GitLab instance."""
CaBundle = Annotated[str, AfterValidator(_check_bundle), Allowed("certificates in PEM, without a private key")]
"""One or more certificates in PEM."""
BranchOrTag = Annotated[
    str,
    AfterValidator(check_ref),
    Allowed(f"a short name of at most {LONGEST_REF} characters, such as `main`; `*` for `open` only"),
]
"""The short name of a branch or tag."""
OneBranch = Annotated[
    str,
    pattern(r"[\w./#+-]+", "is not a branch; name exactly one, without wildcards"),
    AfterValidator(check_ref),
    Allowed("one branch, without `*`"),
]
"""The short name of one branch."""
ProjectPath = Annotated[
    str,
    pattern(rf"{_SEGMENT}(/{_SEGMENT})+", "is not the full path of a project; write group/project, without wildcards"),
    AfterValidator(_check_project),
    Allowed("`group/project`, without `*`"),
]
"""The full path of one project."""
ProjectPattern = Annotated[
    str,
    pattern(r"[\w.*][\w.*-]*(/[\w.*][\w.*-]*)+", "is not the full path of a project; write group/project"),
    AfterValidator(_check_project),
    AfterValidator(_check_project_pattern),
    Allowed("`group/project`; `*` for `open` only, and not in the top-level group"),
]
"""The full path of a project, or a pattern of paths below one top-level group."""
