"""Launch templates of EC2: every field of the data is kept, names, versions and user data are checked.

MiniStack keeps the templates and versions, and drops most fields of the data. A template may name things that do not
exist, as in AWS: they are looked up when an instance starts. Limits:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-launch-templates.html
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from ministack.services import ec2

from sandbox_aws import shapes
from sandbox_aws.patching import replace, wrap

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from sandbox_aws.answers import Answer

_NAME = re.compile(r"[A-Za-z0-9().\-/_]{3,128}")
_USER_DATA_BYTES = 16384
_ALIASES = {"$Latest": "LatestVersionNumber", "$Default": "DefaultVersionNumber"}


def install(table: MutableMapping[str, Any]) -> None:
    """Replace how the data of a template is read and written, and put checks in front of the operations."""
    replace("services.ec2", "_parse_lt_data", lambda _original: _read_data)
    replace("services.ec2", "_lt_data_xml", lambda _original: _write_data)
    wrap(table, "CreateLaunchTemplate", _checked(named=True))
    wrap(table, "CreateLaunchTemplateVersion", _checked(named=False))
    wrap(table, "DescribeLaunchTemplateVersions", _known_versions)
    for operation in (
        "CreateLaunchTemplateVersion",
        "DeleteLaunchTemplate",
        "DescribeLaunchTemplates",
        "DescribeLaunchTemplateVersions",
        "ModifyLaunchTemplate",
    ):
        wrap(table, operation, _existing)


def find(specification: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the template and the version that a `LaunchTemplateSpecification` names, or None."""
    identifier, name = specification.get("LaunchTemplateId"), specification.get("LaunchTemplateName")
    template = next(
        (
            stored
            for stored in ec2._launch_templates.values()
            if identifier == stored["LaunchTemplateId"] or (not identifier and name == stored["LaunchTemplateName"])
        ),
        None,
    )
    if template is None:
        return None
    version = str(specification.get("Version") or "$Default")
    number = str(template[_ALIASES[version]]) if version in _ALIASES else version
    versions = (stored for stored in template["Versions"] if str(stored["VersionNumber"]) == number)
    match = next(versions, None)
    return None if match is None else (template, match)


def _read_data(parameters: dict[str, Any], prefix: str = "LaunchTemplateData") -> dict[str, Any]:
    return shapes.read_part("ec2", "RequestLaunchTemplateData", parameters, prefix)


def _write_data(data: dict[str, Any]) -> str:
    return shapes.write_part("ec2", "ResponseLaunchTemplateData", data)


def _checked(*, named: bool) -> Any:
    """Return a wrapper that refuses a name or data that EC2 refuses."""

    def make(original: Any) -> Any:
        def create(parameters: dict[str, Any]) -> Answer:
            answer: Answer = (_name_refused(parameters) if named else None) or _data_refused(parameters)
            return answer or original(parameters)

        return create

    return make


def _name_refused(parameters: dict[str, Any]) -> Answer | None:
    name = ec2._p(parameters, "LaunchTemplateName")
    if _NAME.fullmatch(name):
        return None
    message = f"The launch template name '{name}' must have 3 to 128 characters of a-z, A-Z, 0-9 and ().-/_"
    return _error("InvalidLaunchTemplateName.MalformedException", message)


def _data_refused(parameters: dict[str, Any]) -> Answer | None:
    try:
        data = _read_data(parameters)
    except shapes.MalformedError as error:
        return _error("InvalidParameterValue", str(error))
    if not data:
        return _error("MissingParameter", "The request must contain the parameter LaunchTemplateData")
    try:
        size = len(base64.b64decode(data.get("UserData", ""), validate=True))
    except (binascii.Error, ValueError):
        return _error("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.")
    if size > _USER_DATA_BYTES:
        return _error("InvalidParameterValue", f"User data is limited to {_USER_DATA_BYTES} bytes")
    return None


def _existing(original: Any) -> Any:
    """Refuse a template that does not exist, named by id or name."""

    def handle(parameters: dict[str, Any]) -> Answer:
        for field, code in (
            ("LaunchTemplateId", "InvalidLaunchTemplateId.NotFound"),
            ("LaunchTemplateName", "InvalidLaunchTemplateName.NotFoundException"),
        ):
            named = [*ec2._parse_member_list(parameters, field), ec2._p(parameters, field)]
            for name in filter(None, named):
                if find({field: name}) is None:
                    return _error(code, f"The specified launch template, {name}, does not exist.")
        answer: Answer = original(parameters)
        return answer

    return handle


def _known_versions(original: Any) -> Any:
    def describe(parameters: dict[str, Any]) -> Answer:
        specification = {name: ec2._p(parameters, name) or None for name in ("LaunchTemplateId", "LaunchTemplateName")}
        for version in ec2._parse_member_list(parameters, "LaunchTemplateVersion"):
            if find(specification) is not None and find({**specification, "Version": version}) is None:
                message = f"Could not find the specified version {version} for the launch template"
                return _error("InvalidLaunchTemplateId.VersionNotFound", message)
        answer: Answer = original(parameters)
        return answer

    return describe


def _error(code: str, message: str) -> Answer:
    answer: Answer = ec2._error(code, message, 400)
    return answer
