"""The program of an EC2 instance that runs jobs or starts them: token, credentials of jobs, closed network, drain, clean-up.

It is part of the instance's user data and runs as root with Ubuntu's Python and boto3. Settings are in `/etc/runner-platform/host.json`, which
`components/documents/machines/user_data.py` writes. Each command is one systemd unit:

- `configure`: fetch the runner's token and write the runner's configuration into memory, when the machine's predecessor has ended
- `credentials`: keep a session of the class's job role in a file that Docker shows to jobs
- `network`: close the metadata service, the VPC and the machine itself to jobs
- `drain`: when the Auto Scaling group ends the instance, let jobs finish first
- `clean`: remove images, volumes and networks that nothing uses
"""

from __future__ import annotations

import datetime as dt
import hashlib
import http
import http.client
import ipaddress
import json
import os
import pathlib
import re
import shutil
import socket
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
CHAIN = "RUNNER-PLATFORM"
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
    """Fetch the runner's token, and write the runner's configuration and its name into memory, for root alone."""
    wait_for_predecessor()
    parameter = client("ssm").get_parameter(Name=settings()["token_parameter"], WithDecryption=True)
    token = parameter["Parameter"]["Value"]
    if not TOKEN.fullmatch(token):
        sys.exit(
            f"parameter {settings()['token_parameter']} holds no runner token; run `pulumi up` for this stack again"
        )
    template = (FOLDER / "config.toml").read_text()
    text = template.replace("[[runners]]\n", f'[[runners]]\ntoken = "{token}"\n', 1)
    write(RUN / "gitlab-runner/config.toml", text, 0o600)
    write(RUN / "gitlab-runner/.runner_system_id", system_id(metadata("instance-id")), 0o600)


def system_id(instance: str) -> str:
    """Return how the manager calls itself in GitLab: the same name after each start of an instance, so that GitLab lists it once.

    The runner takes `r_` and twelve letters or digits, else it makes a name of its own.
    """
    return f"r_{hashlib.sha256(instance.encode()).hexdigest()[:12]}"


def wait_for_predecessor() -> None:
    """Wait until no other instance of the manager's group runs, if the class has a group of workers.

    The group starts the successor while the predecessor still drains. A manager that starts removes every worker that it did not start
    itself, and with it the jobs that the predecessor waits for.
    Source: https://docs.gitlab.com/runner/configuration/advanced-configuration/ (`[runners.autoscaler.state_storage]`)
    """
    group = settings().get("alone_in")
    if group is None:
        return
    instance, autoscaling = metadata("instance-id"), client("autoscaling")
    while True:
        answer = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])
        members = answer["AutoScalingGroups"][0]["Instances"]
        predecessors = [
            member["InstanceId"]
            for member in members
            if member["InstanceId"] != instance and member["LifecycleState"].startswith(("InService", "Terminating"))
        ]
        if not predecessors:
            return
        sys.stderr.write(f"waiting for {', '.join(predecessors)} to finish its jobs\n")
        time.sleep(RETRY_SECONDS)


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
            tell_systemd()
        except Exception as error:  # noqa: BLE001  # whatever it is, the next round may succeed, and the jobs need it
            sys.stderr.write(f"no session of the job role: {error}; trying again\n")
            pause = RETRY_SECONDS
        if once():
            return
        time.sleep(pause)


def tell_systemd() -> None:
    """Tell systemd that the unit does its work, so that units after it start; a unit that is not of type `notify` has no socket."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", address.replace("@", "\0", 1))


def once() -> bool:
    """Whether the command ends after one round, as tests and `prove` ask it."""
    return "--once" in sys.argv


def network() -> None:
    """Close networks to the jobs' containers: link-local addresses, the VPC and the machine itself; DNS and endpoints stay open.

    The rules replace those of an earlier run in one step, since Docker's restart starts this unit again while containers run.
    """
    lines = "\n".join(
        ["*filter", f":{CHAIN} - [0:0]", *rules(networks_of_vpc(), settings()["endpoint_cidrs"]), "COMMIT\n"]
    )
    subprocess.run(["iptables-restore", "--wait", "--noflush"], input=lines, text=True, check=True)
    for chain, target in (("DOCKER-USER", CHAIN), ("INPUT", "REJECT")):
        for bridge in ("docker0", "br-+"):
            jump = [chain, "--in-interface", bridge, "--jump", target]
            present = subprocess.run(["iptables", "--wait", "--check", *jump], stderr=subprocess.DEVNULL, check=False)
            if present.returncode != 0:
                subprocess.run(["iptables", "--wait", "--insert", *jump], check=True)


def networks_of_vpc() -> list[str]:
    """Return the IPv4 networks of the instance's VPC, the first one first; wait for a metadata service that does not answer."""
    while True:
        try:
            interface = metadata("network/interfaces/macs/").split("\n")[0].strip("/")
            blocks = metadata(f"network/interfaces/macs/{interface}/vpc-ipv4-cidr-blocks").split()
        except OSError as error:
            blocks = []
            sys.stderr.write(f"{error}; trying again\n")
        if blocks:
            return blocks
        time.sleep(RETRY_SECONDS)


def rules(vpc_cidrs: list[str], endpoint_cidrs: list[str]) -> list[str]:
    """Return lines of iptables-restore, in order, for a chain that sees what containers send to other machines.

    The VPC's DNS server is the third address of its first network.
    """
    resolver = ipaddress.IPv4Network(vpc_cidrs[0])[2]
    return [
        f"-A {CHAIN} -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
        *(f"-A {CHAIN} -p {protocol} -d {resolver} --dport 53 -j RETURN" for protocol in ("udp", "tcp")),
        *(f"-A {CHAIN} -p tcp -d {cidr} --dport 443 -j RETURN" for cidr in endpoint_cidrs),
        *(f"-A {CHAIN} -d {cidr} -j REJECT" for cidr in ("169.254.0.0/16", *vpc_cidrs)),
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
    """Remove images, volumes and networks that nothing uses: images of three days, or all of them on a full disk."""
    usage = shutil.disk_usage("/var/lib/docker")
    full = usage.used / usage.total > FULL_DISK
    age = [] if full else ["--filter", "until=72h"]
    subprocess.run(["docker", "image", "prune", "--all", "--force", *age], check=True)
    subprocess.run(["docker", "volume", "prune", "--force"], check=True)
    subprocess.run(["docker", "network", "prune", "--force", "--filter", "until=1h"], check=True)


COMMANDS = {"configure": configure, "credentials": credentials, "network": network, "drain": drain, "clean": clean}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]]()
