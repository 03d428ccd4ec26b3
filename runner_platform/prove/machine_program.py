"""Program that `doctor_machines` runs on an EC2 instance, as root, with the machine's own Python: `doctor` and probes, where jobs run.

Standard library alone, one file. The argument is the plan: JSON, compressed, in base64. Standard output is the answer in the same form,
because Systems Manager returns 24,000 characters of output at most. `{"doctor": text or null, "answers": [[line, …], …]}`: the report of
`doctor --json`, and for each caller of the plan the line of the probe for each profile.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing

SECONDS = 300
FOLDER = "/etc/runner-platform/prove"
"""Where a container sees the config that a caller brings."""
ASK = 'python=$1 probe=$2; shift 2; for profile; do "$python" "$probe" "$profile"; done'


def main(argument: str) -> None:
    """Carry out a plan and print the answer."""
    plan = json.loads(gzip.decompress(base64.b64decode(argument)))
    report = run([*docker(plan, plan["options"]), plan["image"], "doctor", "--json"]) if plan["doctor"] else None
    answer = {"doctor": report, "answers": [ask(plan, caller) for caller in plan["callers"]]}
    sys.stdout.write(base64.b64encode(gzip.compress(json.dumps(answer).encode())).decode() + "\n")


def docker(plan: dict[str, typing.Any], options: list[str]) -> list[str]:
    """Return the command line of a container that is removed when it ends."""
    return ["docker", "run", "--rm", *plan["limits"], *options]


def ask(plan: dict[str, typing.Any], caller: dict[str, typing.Any]) -> list[str]:
    """Ask for the identities of a caller's profiles; return a line for each of them."""
    with tempfile.TemporaryDirectory(prefix="prove-", dir="/run") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)  # root in a container is nobody on the machine
        own = pathlib.Path(plan["config"]).read_text() if caller["place"] == "job" else ""
        config, probe = folder / "config", folder / "probe.py"
        config.write_text(own + caller["profiles"])
        probe.write_text(plan["probe"])
        for file in (config, probe):
            file.chmod(0o644)
        if caller["place"] == "host":
            environment = {"PATH": os.defpath, "HOME": name, "AWS_CONFIG_FILE": str(config)}
            command = ["sh", "-c", ASK, "sh", sys.executable, str(probe), *caller["ask"]]
            return run(command, environment).splitlines()
        options = ["--volume", f"{name}:{FOLDER}:ro", "--entrypoint", "sh"]
        if caller["place"] == "job":
            options += [*plan["options"], "--env", f"AWS_CONFIG_FILE={FOLDER}/config"]
        else:
            options += ["--env", f"AWS_DEFAULT_REGION={plan['region']}", "--env", "AWS_CONFIG_FILE=/dev/null"]
        python = [plan["python"], f"{FOLDER}/probe.py"]
        return run([*docker(plan, options), plan["image"], "-c", ASK, "sh", *python, *caller["ask"]]).splitlines()


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    """Run a command; return its output, or an empty text and the reason on standard error."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS)
    if not done.stdout.strip():
        sys.stderr.write(done.stderr[-600:])
    return done.stdout


if __name__ == "__main__":
    main(sys.argv[1])
