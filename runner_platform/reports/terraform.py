"""`terraform.json`: counts on GitLab's merge request page, one row per job, named after the job.

GitLab reads the integers `create`, `update` and `delete`. It has no `replace`, so a replacement counts as one create and one delete, as in
Terraform. https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsterraform
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner_platform.reports.change import Counts

FILE = "terraform.json"


def document(counts: Counts) -> str:
    """The report as JSON text."""
    report = {
        "create": counts.create + counts.replace,
        "update": counts.update,
        "delete": counts.delete + counts.replace,
    }
    return json.dumps(report) + "\n"
