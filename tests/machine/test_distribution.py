"""User data in a root of a real distribution: its own cloud-init, packages, systemd, Docker, Python, boto3 and iptables accept all of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from components.documents.machines import user_data
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.machines import distribution
from runner_platform_sandbox.paths import Paths
from tests.support import instance_metadata
from tests.support.machine_classes import AUTOSCALER, DOCKER, FARGATE, machine_class

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(bool(distribution.obstacle()), reason=distribution.obstacle() or "none"),
]
UNITS = "/etc/systemd/system"
SCRIPT = f"""
section() {{ echo "@@ $1"; }}
section schema;  cloud-init schema --config-file /var/lib/cloud/seed/nocloud/user-data 2>&1; echo "exit $?"
(
    cloud-init init --local && cloud-init init && cloud-init modules --mode=config && cloud-init modules --mode=final
) > /var/log/run 2>&1
section cloud-init; echo "exit $?"; cat /run/cloud-init/result.json
section log; cat /var/log/run
section systemctl; cat /var/log/systemctl
section packages; dpkg-query --show --showformat '${{Package}} ${{db:Status-Status}}\\n'
section modes; find /etc/runner-platform /root/.docker /usr/local/lib/runner-platform -type f -printf '%p %m %u\\n'
section user; id -nG {distribution.USER}
section units
for unit in {UNITS}/runner-platform-* {UNITS}/gitlab-runner.service; do
    [ ! -e "$unit" ] || {{ systemd-analyze verify --man=no "$unit"; echo "$unit exit $?"; }}
done 2>&1
section wanted; ls {UNITS}/*.wants
section docker;  dockerd --validate --config-file /etc/docker/daemon.json 2>&1; echo "exit $?"
section apt;     apt-config dump Unattended-Upgrade::Package-Blacklist
section perl;    perl -c /etc/needrestart/conf.d/runner-platform.conf 2>&1
section program
cd /usr/local/lib/runner-platform
python3 -W error -c 'import host; host.client("autoscaling"); host.client("ssm"); host.client("sts"); print("clients made")' 2>&1
AWS_EC2_METADATA_DISABLED=true timeout 60 python3 host.py credentials --once 2>&1; echo "exit $?"
section session; find /run/runner-platform -printf '%p %m\\n'
section network
cat > /srv/instance_metadata.py <<'END-OF-FILE'
{Path(instance_metadata.__file__).read_text()}
END-OF-FILE
cat > /srv/serve.py <<'END-OF-FILE'
import pathlib, time, instance_metadata
mac = "network/interfaces/macs/"
with instance_metadata.metadata_service({{mac: "0a:00/", mac + "0a:00/vpc-ipv4-cidr-blocks": "10.0.0.0/16"}}) as address:
    pathlib.Path("/srv/new").write_text(address)
    pathlib.Path("/srv/new").rename("/srv/address")
    time.sleep(120)
END-OF-FILE
(cd /srv; exec python3 serve.py > /dev/null 2>&1) &
until [ -e /srv/address ]; do sleep 0.05; done
export AWS_EC2_METADATA_SERVICE_ENDPOINT=$(cat /srv/address)
iptables --new-chain DOCKER-USER
for time in first second; do python3 host.py network 2>&1; echo "exit $?"; done
iptables-save | grep -v '^[#:*]'
section end
"""


def documents() -> Mapping[str, str]:
    autoscaled = machine_class(AUTOSCALER)
    return {
        "docker": user_data.manager_user_data(machine_class(DOCKER)),
        "manager": user_data.manager_user_data(autoscaled),
        "worker": user_data.worker_user_data(autoscaled),
        "fargate": user_data.manager_user_data(machine_class(FARGATE)),
    }


@cache
def sections(machine: str, work: Path) -> Mapping[str, str]:
    """Execute the user data of a machine once, and return what each program said."""
    try:
        root = distribution.root(Paths.from_environment())
    except SandboxError as error:
        pytest.skip(str(error))
    answer = distribution.run(root, work, user_data.decoded(documents()[machine]), SCRIPT)
    parts = [part.partition("\n") for part in answer.stdout.split("@@ ")[1:]]
    assert parts, answer.stdout[-2000:]
    assert parts[-1][0] == "end", answer.stdout[-2000:]
    return {name: text for name, _, text in parts}


@pytest.fixture(scope="module", params=["docker", "manager", "worker", "fargate"])
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def said(machine: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    return sections(machine, tmp_path_factory.mktemp(machine))


def test_cloud_init_accepts_and_executes_user_data(said: Mapping[str, str]) -> None:
    assert "Valid schema" in said["schema"]
    assert "exit 0" in said["schema"]
    assert yaml.safe_load(said["cloud-init"].partition("\n")[2])["v1"]["errors"] == [], said["log"]
    assert said["cloud-init"].startswith("exit 0"), said["log"]


def test_every_package_is_installed(said: Mapping[str, str], machine: str) -> None:
    installed = {
        line.removesuffix(" installed") for line in said["packages"].splitlines() if line.endswith(" installed")
    }
    assert set(user_data.PACKAGES) <= installed
    assert set(user_data.MANAGER_PACKAGES) <= installed or machine == "worker"
    assert not [line for line in said["packages"].splitlines() if not line.endswith((" installed", " config-files"))]


def test_commands_run_in_the_order_of_user_data(said: Mapping[str, str], machine: str) -> None:
    commands = yaml.safe_load(user_data.decoded(documents()[machine]))["runcmd"]
    expected = [" ".join(command[1:]) for command in commands if command[0] == "systemctl"]
    recorded = [line for line in said["systemctl"].splitlines() if line in expected]
    assert recorded == expected


def test_systemd_accepts_every_unit(said: Mapping[str, str], machine: str) -> None:
    written = [path for path in user_data.files_of(documents()[machine]) if path.startswith(UNITS)]
    assert said["units"].splitlines() == [f"{path} exit 0" for path in sorted(written, key=_as_listed)]


def _as_listed(path: str) -> tuple[bool, str]:
    return "gitlab-runner" in path, path


def test_units_start_again_after_a_reboot(said: Mapping[str, str], machine: str) -> None:
    assert ("gitlab-runner.service" in said["wanted"]) is (machine != "worker")
    assert ("runner-platform-network.service" in said["wanted"]) is (machine in {"docker", "worker"})
    assert "docker.service" in said["wanted"]


def test_the_worker_user_reaches_docker(said: Mapping[str, str], machine: str) -> None:
    assert ("docker" in said["user"].split()) is (machine == "worker"), "on a manager the user has no way to the token"


def test_files_have_their_modes(said: Mapping[str, str], machine: str) -> None:
    modes = {line.split()[0]: line.split()[1:] for line in said["modes"].splitlines()}
    assert modes["/usr/local/lib/runner-platform/host.py"] == ["755", "root"]
    if machine != "worker":
        assert modes["/etc/runner-platform/config.toml"] == ["600", "root"]
        assert modes["/root/.docker/config.json"] == ["600", "root"]


def test_docker_apt_and_needrestart_read_their_settings(said: Mapping[str, str]) -> None:
    assert "configuration OK" in said["docker"], said["docker"]
    assert "exit 0" in said["docker"]
    assert [line.split('"')[1] for line in said["apt"].splitlines()[1:]] == ["docker.io", "containerd", "runc"]
    assert "syntax OK" in said["perl"]


def test_the_program_runs_with_the_python_of_the_distribution(said: Mapping[str, str], machine: str) -> None:
    assert "clients made" in said["program"], said["program"]
    if machine in {"docker", "worker"}:
        assert "no session of the job role: Unable to locate credentials; trying again" in said["program"]
        assert said["program"].endswith("exit 0\n")
        assert "/run/runner-platform/aws 755\n" in said["session"]
        assert "/run/runner-platform/aws/config 444\n" in said["session"]


def test_iptables_accepts_the_rules_again_and_again(said: Mapping[str, str]) -> None:
    lines = said["network"].splitlines()
    assert lines[:2] == ["exit 0", "exit 0"], said["network"]
    assert [line for line in lines if line.startswith("-A DOCKER-USER")] == [
        "-A DOCKER-USER -i br-+ -j RUNNER-PLATFORM",
        "-A DOCKER-USER -i docker0 -j RUNNER-PLATFORM",
    ], "once each, after two runs"
    chain = [line for line in lines if line.startswith("-A RUNNER-PLATFORM")]
    assert chain[0].endswith("--ctstate RELATED,ESTABLISHED -j RETURN")
    assert [line.split(" -j ")[0].split()[-1] for line in chain if "REJECT" in line] == [
        "169.254.0.0/16",
        "10.0.0.0/16",
    ]
    assert len([line for line in chain if "--dport 53" in line]) == 2
