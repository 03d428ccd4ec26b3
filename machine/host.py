"""The program of an EC2 instance that runs jobs or starts them: token, credentials of jobs, closed network, drain, clean-up.

It is part of the instance's user data and runs as root with Ubuntu's Python and boto3. Settings are in `/etc/runner-platform/host.json`, which
`components/documents/machines/user_data.py` writes. Each command is one systemd unit:

- `configure`: fetch the runner's token and write the runner's configuration into memory
- `credentials`: keep a session of the class's job role in a file that Docker shows to jobs
- `network`: close the metadata service, the VPC and the machine itself to jobs
- `drain`: when the Auto Scaling group ends the instance, let jobs finish first
- `clean`: remove images and volumes that nothing uses
"""

from __future__ import annotations

import datetime as dt
import http
import http.client
import ipaddress
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import typing
import urllib.parse

FOLDER = pathlib.Path(os.environ.get("RUNNER_PLATFORM_ETC", "/etc/runner-platform"))
RUN = pathlib.Path(os.environ.get("RUNNER_PLATFORM_RUN", "/run"))
METADATA = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
SESSION_SECONDS = 3600
RENEW_SECONDS = 900
"""A session is renewed so early that each reader of the file has at least 45 minutes of it left."""
RETRY_SECONDS = 10
POLL_SECONDS = 5
HEARTBEAT_SECONDS = 600
FULL_DISK = 0.8
TOKEN = re.compile(r"[A-Za-z0-9_.-]{10,256}")


def settings() -> dict[str, typing.Any]:
    """Read the settings of this instance."""
    values: dict[str, typing.Any] = json.loads((FOLDER / "host.json").read_text())
    return values


def client(service: typing.Any) -> typing.Any:
    """Make a client of an AWS service in the instance's region, with the instance's role."""
    import boto3  # noqa: PLC0415  # the commands `network` and `clean` do without

    return boto3.client(service, region_name=settings()["region"])


def metadata(path: str) -> str:
    """Read from the instance metadata service, version 2; return an empty text if there is no such entry."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(METADATA).netloc, timeout=5)
    try:
        connection.request("PUT", "/latest/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        token = connection.getresponse().read().decode()
        connection.request("GET", f"/latest/meta-data/{path}", headers={"X-aws-ec2-metadata-token": token})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status == http.HTTPStatus.NOT_FOUND:
        return ""
    if answer.status != http.HTTPStatus.OK:
        raise OSError(f"the metadata service answers {answer.status} for {path}")
    return text


def write(path: pathlib.Path, text: str, mode: int) -> None:
    """Replace a file in one step, so that no reader sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(text)
    new.chmod(mode)
    new.replace(path)


def configure() -> None:
    """Fetch the runner's token, and write the runner's configuration into memory, for root alone."""
    parameter = client("ssm").get_parameter(Name=settings()["token_parameter"], WithDecryption=True)
    token = parameter["Parameter"]["Value"]
    if not TOKEN.fullmatch(token):
        sys.exit(
            f"parameter {settings()['token_parameter']} holds no runner token; run `pulumi up` for this stack again"
        )
    template = (FOLDER / "config.toml").read_text()
    text = template.replace("[[runners]]\n", f'[[runners]]\ntoken = "{token}"\n', 1)
    write(RUN / "gitlab-runner/config.toml", text, 0o600)


def session() -> str:
    """Return the text of a `credential_process` for a new session of the job role."""
    names = settings()["identity"]
    answer = client("sts").assume_role(
        RoleArn=names["role_arn"], RoleSessionName=names["session_name"], DurationSeconds=SESSION_SECONDS
    )
    keys = answer["Credentials"]
    ends = keys["Expiration"].astimezone(dt.UTC)
    document = {
        "Version": 1,
        "AccessKeyId": keys["AccessKeyId"],
        "SecretAccessKey": keys["SecretAccessKey"],
        "SessionToken": keys["SessionToken"],
        "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return json.dumps(document)


def credentials() -> None:
    """Renew the jobs' session for ever; a failure is tried again, and ends nothing while the last session is valid."""
    folder = RUN / "runner-platform/aws"
    write(folder / "config", (FOLDER / "aws-config").read_text(), 0o444)
    while True:
        pause = RENEW_SECONDS
        try:
            write(folder / "credentials.json", session(), 0o444)
        except Exception as error:  # noqa: BLE001  # whatever it is, the next round may succeed, and the jobs need it
            sys.stderr.write(f"no session of the job role: {error}; trying again\n")
            pause = RETRY_SECONDS
        if once():
            return
        time.sleep(pause)


def once() -> bool:
    """Whether the command ends after one round, as tests and `prove` ask it."""
    return "--once" in sys.argv


def network() -> None:
    """Close networks to the jobs' containers: link-local addresses, the VPC and the machine itself; DNS and endpoints stay open."""
    interface = metadata("network/interfaces/macs/").split("\n")[0].strip("/")
    blocks = metadata(f"network/interfaces/macs/{interface}/vpc-ipv4-cidr-blocks").split()
    for command in rules(blocks, settings()["endpoint_cidrs"]):
        subprocess.run(["iptables", "--wait", *command], check=True)


def rules(vpc_cidrs: list[str], endpoint_cidrs: list[str]) -> list[list[str]]:
    """Return the arguments of iptables, in order. Docker sends what containers say through the chain DOCKER-USER.

    The VPC's DNS server is the third address of its first network.
    """
    resolver = str(ipaddress.IPv4Network(vpc_cidrs[0])[2])
    chain = ["--append", "RUNNER-PLATFORM"]
    closed = ["169.254.0.0/16", *vpc_cidrs]
    return [
        ["--new-chain", "RUNNER-PLATFORM"],
        [*chain, "--match", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "--jump", "RETURN"],
        *(
            [*chain, "--protocol", protocol, "--destination", resolver, "--dport", "53", "--jump", "RETURN"]
            for protocol in ("udp", "tcp")
        ),
        *(
            [*chain, "--protocol", "tcp", "--destination", cidr, "--dport", "443", "--jump", "RETURN"]
            for cidr in endpoint_cidrs
        ),
        *([*chain, "--destination", cidr, "--jump", "REJECT"] for cidr in closed),
        *(
            ["--insert", "DOCKER-USER", "--in-interface", bridge, "--jump", "RUNNER-PLATFORM"]
            for bridge in ("docker0", "br-+")
        ),
        *(["--insert", "INPUT", "--in-interface", bridge, "--jump", "REJECT"] for bridge in ("docker0", "br-+")),
    ]


def drain() -> None:
    """Wait until the group ends this instance; then stop the runner, which finishes its jobs, and tell the group to go on."""
    while metadata("autoscaling/target-lifecycle-state") != "Terminated":
        if once():
            return
        time.sleep(POLL_SECONDS)
    names = settings()["drain"]
    hook = {
        "AutoScalingGroupName": names["group"],
        "LifecycleHookName": names["hook"],
        "InstanceId": metadata("instance-id"),
    }
    autoscaling = client("autoscaling")
    stop = subprocess.Popen(["systemctl", "stop", "gitlab-runner.service"])
    while True:
        try:
            stop.wait(timeout=HEARTBEAT_SECONDS)
            break
        except subprocess.TimeoutExpired:
            autoscaling.record_lifecycle_action_heartbeat(**hook)
    autoscaling.complete_lifecycle_action(**hook, LifecycleActionResult="CONTINUE")


def clean() -> None:
    """Remove images and volumes that nothing uses: those of three days, or all of them on a full disk."""
    usage = shutil.disk_usage("/var/lib/docker")
    full = usage.used / usage.total > FULL_DISK
    age = [] if full else ["--filter", "until=72h"]
    subprocess.run(["docker", "image", "prune", "--all", "--force", *age], check=True)
    subprocess.run(["docker", "volume", "prune", "--force"], check=True)


COMMANDS = {"configure": configure, "credentials": credentials, "network": network, "drain": drain, "clean": clean}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]]()
