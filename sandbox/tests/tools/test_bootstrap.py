"""The first step of every recipe: the project's environment, made once and left alone while nothing changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools import bootstrap, python
from runner_platform_sandbox.tools.errors import ToolsError
from runner_platform_sandbox.tools.versions import Version

SCRIPT = Path(__file__).resolve().parents[3] / "sandbox" / "tools" / "bootstrap.sh"
UV = """#!/bin/sh
if [ "$1" = --version ]; then echo "uv {version}"; exit; fi
echo "$@" >> "{log}"
/bin/mkdir -p "{root}/.venv/bin" && echo "#!{root}/.venv/bin/python" > "{root}/.venv/bin/runner-platform"
echo > "{root}/.venv/bin/python"
exit {code}
"""


class Clone(NamedTuple):
    """A clone of the project, a cache and a PATH with nothing but a fake uv."""

    root: Path
    paths: Paths
    folder: Path

    def uv(self, *, code: int = 0, version: str = "0.13.0") -> None:
        program = self.folder / "uv"
        text = UV.format(root=self.root, log=self.folder / "log", code=code, version=version)
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)

    def calls(self) -> list[str]:
        """What uv was asked to do, a line each."""
        log = self.folder / "log"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    def prepare(self) -> None:
        bootstrap.prepare(self.root, self.paths)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    root, folder = tmp_path / "clone", tmp_path / "path"
    root.mkdir()
    folder.mkdir()
    (root / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    (root / "uv.lock").write_text("version = 1\n", encoding="utf-8")
    (root / "sandbox").mkdir()
    (root / "sandbox" / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    monkeypatch.setenv("PATH", str(folder))
    clone = Clone(root, Paths(cache=tmp_path / "cache", root=tmp_path / "sandbox"), folder)
    clone.uv()
    return clone


def test_the_environment_is_made_from_the_lock_file_once(clone: Clone) -> None:
    clone.prepare()
    clone.prepare()
    (call,) = clone.calls()
    assert call.startswith("sync ")
    assert "--frozen" in call, "the lock file decides; nothing is resolved anew"


@pytest.mark.parametrize("changed", ["uv.lock", "pyproject.toml", "sandbox/pyproject.toml"])
def test_a_changed_lock_or_project_file_is_followed(clone: Clone, changed: str) -> None:
    clone.prepare()
    (clone.root / changed).write_text("# another\n", encoding="utf-8")
    clone.prepare()
    assert len(clone.calls()) == 2


def test_a_failed_installation_is_tried_again(clone: Clone) -> None:
    clone.uv(code=2)
    with pytest.raises(ToolsError, match=r"exit code 2.*run the same command again"):
        clone.prepare()
    clone.uv()
    clone.prepare()
    assert len(clone.calls()) == 2, "an environment without its stamp is not trusted"


def test_an_environment_of_a_moved_clone_is_made_anew(clone: Clone, tmp_path: Path) -> None:
    clone.prepare()
    (clone.root / ".venv" / "left-over").touch()
    moved = Clone(clone.root.rename(tmp_path / "moved"), clone.paths, clone.folder)
    moved.uv()
    moved.prepare()
    assert not (moved.root / ".venv" / "left-over").exists(), "its scripts pointed to the old place"


def test_a_uv_that_is_too_old_is_not_used(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    clone.uv(version="0.9.2")
    assert python.find_uv(clone.paths, str(clone.folder)) is None
    own = python.uv_folder(clone.paths) / "bin" / "uv"
    own.parent.mkdir(parents=True)
    own.touch()
    assert python.find_uv(clone.paths, str(clone.folder)) == own
    monkeypatch.setattr(python, "UV_MINIMUM", Version(0, 9, 2))
    assert python.find_uv(clone.paths, str(clone.folder)) == clone.folder / "uv"


@pytest.mark.parametrize("module", ["ensurepip", "venv"])
def test_a_python_without_venv_is_told_which_package_brings_it(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    (clone.folder / "uv").unlink()
    monkeypatch.setitem(sys.modules, module, None)
    series = f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.raises(ToolsError, match=f"no module {module}; install it .*apt-get install python{series}-venv"):
        clone.prepare()


def test_an_unwritable_cache_ends_setup_without_a_traceback(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clone.paths.cache.touch()
    monkeypatch.setattr(bootstrap, "ROOT", clone.root)
    monkeypatch.setenv("RUNNER_PLATFORM_CACHE", str(clone.paths.cache))
    assert bootstrap.main() == 1
    assert capsys.readouterr().err.startswith(f"error: the cache folder {clone.paths.cache} cannot be written")


def test_uv_trusts_what_the_machine_trusts(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_SYSTEM_CERTS", raising=False)
    monkeypatch.setattr(python, "machine_authorities", lambda: None)
    assert "UV_SYSTEM_CERTS" not in python.uv_environment(clone.paths), "then uv's own list is the better one"
    monkeypatch.setattr(python, "machine_authorities", lambda: "/etc/authorities.pem")
    assert python.uv_environment(clone.paths)["UV_SYSTEM_CERTS"] == "1"


def test_uv_keeps_its_files_in_the_cache_and_fetches_no_python(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_CACHE_DIR", raising=False)
    variables = python.uv_environment(clone.paths)
    assert variables["UV_PYTHON_DOWNLOADS"] == "never"
    assert Path(variables["UV_CACHE_DIR"]).is_relative_to(clone.paths.cache)


@pytest.mark.parametrize(("says", "found"), [("Python 3.9.2", "found: Python 3.9.2"), (None, "found: no python3")])
def test_a_machine_without_a_new_python_is_told_what_to_install(clone: Clone, says: str | None, found: str) -> None:
    (clone.folder / "uv").unlink()
    for tool in ("dirname", "sh"):
        (clone.folder / tool).symlink_to(f"/usr/bin/{tool}")
    if says is not None:
        python = clone.folder / "python3"
        python.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && echo '{says}'\n", encoding="utf-8")
        python.chmod(0o755)
    done = subprocess.run(
        ["sh", str(SCRIPT)], capture_output=True, text=True, check=False, env={"PATH": str(clone.folder)}
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert found in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr
