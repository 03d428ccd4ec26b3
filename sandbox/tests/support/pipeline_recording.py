"""Pipelines, and what another reader of GitLab's language makes of them: gitlab-ci-local (github.com/firecow/gitlab-ci-local, MIT).

To record again, with Node.js 22 or newer:

    npm install --prefix FOLDER gitlab-ci-local@4.75.1
    python -m sandbox.tests.support.pipeline_recording node FOLDER/node_modules/gitlab-ci-local/dist/index.js
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.support.small_repository import git

RECORD = Path(__file__).parents[1] / "data" / "gitlab-ci-local.json"
OTHER_FILES = {
    "ci/part.yml": ".part: {image: tools, tags: [small], script: [part], variables: {A: part, B: part}}\n",
    "ci/inputs.yml": 'spec: {inputs: {name: {default: x}, many: {type: array, default: [1]}}}\n---\n"job-$[[ inputs.name ]]": {script: "echo $[[ inputs.many ]]"}\n',
    "Dockerfile": "FROM x\n",
    "src/deep/main.tf": "",
}
PIPELINES = {
    "extends": "include: ci/part.yml\n.more: {extends: .part, variables: {B: more}, tags: [big]}\none: {extends: [.more], variables: {C: one}, before_script: [prepare]}",
    "reference": ".a: {script: [one, !reference [.b, script]], rules: [{if: $CI_COMMIT_BRANCH, when: manual}]}\n.b: {script: [two]}\none: {script: [!reference [.a, script], three], rules: [!reference [.a, rules], {when: never}]}",
    "anchors": ".a: &a {image: x, tags: [t]}\none: {<<: *a, script: [make]}\ntwo: {<<: *a, image: y, script: [make]}",
    "default": "default: {image: base, tags: [small], before_script: [prepare], retry: 1, interruptible: true}\none: {script: [make]}\ntwo: {script: [make], before_script: [], inherit: {default: [image]}}\nthree: {script: [make], inherit: {default: false}}",
    "inputs": "include:\n  - {local: ci/inputs.yml, inputs: {name: one, many: [a, b]}}\n  - {local: ci/inputs.yml}",
    "include rules": "include:\n  - {local: ci/inputs.yml, rules: [{if: $CI_COMMIT_TAG}]}\n  - {local: ci/part.yml, rules: [{exists: [Dockerfile]}]}\none: {script: [make]}",
    "workflow": "variables: {A: global}\nworkflow: {rules: [{if: $CI_COMMIT_BRANCH == 'other', when: never}, {if: $CI_COMMIT_BRANCH, variables: {A: workflow}}]}\none: {script: [make], rules: [{if: $A == 'workflow'}]}\ntwo: {script: [make], rules: [{if: $A == 'global'}]}",
    "when": "one: {script: [make], when: manual}\ntwo: {script: [make], when: manual, allow_failure: false}\nthree: {script: [make], when: always}\nfour: {script: [make], when: on_failure, allow_failure: {exit_codes: [3]}}\nfive: {script: [make], when: delayed, start_in: 5 minutes}",
    "rules": "one: {script: [make], rules: [{if: $CI_COMMIT_TAG}, {if: $CI_COMMIT_BRANCH, when: manual}]}\ntwo: {script: [make], rules: [{when: manual, allow_failure: true}]}\nthree: {script: [make], rules: [{if: $CI_COMMIT_TAG}]}\nfour: {script: [make], when: manual, rules: [{if: $CI_COMMIT_BRANCH}]}\nfive: {script: [make], allow_failure: true, rules: [{if: $CI_COMMIT_BRANCH, allow_failure: false}]}",
    "expressions": "variables: {EMPTY: '', NAME: feature/one, PATTERN: /^fea/}\n"
    + "\n".join(
        f"job-{number}: {{script: [make], rules: [{{if: '{expression}'}}]}}"
        for number, expression in enumerate(
            [
                "$EMPTY",
                "$EMPTY == null",
                '$EMPTY == ""',
                "$NOWHERE == null",
                "$NAME =~ /ONE$/",
                "$NAME =~ /ONE$/i",
                "$NAME =~ $PATTERN",
                "$NAME !~ /^one/",
                '$NAME == "x" && $NOWHERE || $NAME',
                '($NAME || $NOWHERE) && $EMPTY == "x"',
                "$EMPTY && $NAME",
                "$EMPTY || $NAME",
                r"$NAME =~ /^feature\/one$/",
                "$NOWHERE =~ /x.*/",
                "$NOWHERE !~ /x.*/",
            ]
        )
    ),
    "exists": "one: {script: [make], rules: [{exists: [Dockerfile]}]}\ntwo: {script: [make], rules: [{exists: ['**/*.tf']}]}\nthree: {script: [make], rules: [{exists: ['*.tf']}]}\nfour: {script: [make], rules: [{exists: ['src/**']}]}\nfive: {script: [make], rules: [{exists: ['**/main.{tf,hcl}']}]}",
    "parallel": "one: {script: [make], parallel: 3}\ntwo: {script: [make], parallel: {matrix: [{A: [x, y], B: [1, 2]}, {A: z}]}}",
    "needs": "build: {stage: build, script: [make], parallel: {matrix: [{A: [x, y]}]}}\nrare: {stage: build, script: [make], rules: [{if: $CI_COMMIT_TAG}]}\none: {script: [make], needs: [build, {job: rare, optional: true}]}\ntwo: {script: [make], needs: [{job: build, artifacts: false}]}\nthree: {script: [make], needs: []}\nfour: {script: [make], dependencies: [build]}",
    "environment": "variables: {PART: web}\none: {script: [make], environment: {name: review/$PART, action: prepare}}\ntwo: {script: [make], environment: prod}",
    "stages": "stages: [first, second]\nlast: {stage: .post, script: [make]}\na: {stage: second, script: [make]}\nb: {stage: first, script: [make]}\nc: {stage: .pre, script: [make]}",
}


def record(command: list[str]) -> dict[str, Any]:
    """Return what gitlab-ci-local makes of each pipeline."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "project"
        folder.mkdir()
        git(folder, "init", "-q", "-b", "main")
        for path, text in OTHER_FILES.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "files")
        git(folder, "clone", "-q", "--bare", str(folder), "../origin.git")
        git(folder, "remote", "add", "origin", "../origin.git")
        git(folder, "fetch", "-q")
        git(folder, "remote", "set-head", "origin", "main")
        return {title: _recorded(command, folder, text) for title, text in PIPELINES.items()}


def _recorded(command: list[str], folder: Path, text: str) -> dict[str, Any]:
    (folder / ".gitlab-ci.yml").write_text(text)
    options = [
        "--home",
        str(folder.parent),
        "--ignore-predefined-vars",
        "CI_COMMIT_REF_PROTECTED",
        "--variable",
        "CI_COMMIT_REF_PROTECTED=true",
    ]
    listed = json.loads(_output([*command, "--list-json", *options], folder))
    full = yaml.safe_load(_output([*command, "--preview", *options], folder))
    keys = ("stage", "when", "allow_failure", "needs", "dependencies", "environment")
    return {
        job["name"]: {
            **{key: job[key] for key in keys if key in job},
            "image": _keyword(full, job["name"], "image"),
            "tags": _keyword(full, job["name"], "tags"),
            "before_script": _keyword(full, job["name"], "before_script"),
            "script": _keyword(full, job["name"], "script"),
        }
        for job in listed
    }


def _keyword(full: dict[str, Any], name: str, keyword: str) -> Any:
    group = max((key for key in full if name == key or name.startswith((f"{key} ", f"{key}: "))), key=len)
    return full[group].get(keyword)


def _output(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(record(sys.argv[1:]), indent=1) + "\n")
