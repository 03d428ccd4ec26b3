"""Ports are chosen once; one that was taken meanwhile is named with its holder."""

from __future__ import annotations

import os
import socket

import pytest

from runner_platform_sandbox import ports
from runner_platform_sandbox.errors import SandboxError


def test_three_different_free_ports_are_chosen() -> None:
    chosen = set(ports.choose().model_dump().values())
    assert len(chosen) == 3
    assert all(ports.is_free(port) for port in chosen)


def test_a_taken_port_is_named_with_its_use_and_its_holder() -> None:
    chosen = ports.choose()
    with socket.socket() as listener:
        listener.bind((ports.HOST, chosen.aws_jobs))
        listener.listen()
        with pytest.raises(SandboxError, match=rf"port {chosen.aws_jobs} for aws_jobs, and process {os.getpid()} "):
            ports.require_free(chosen)
    ports.require_free(chosen)
