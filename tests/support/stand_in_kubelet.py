"""Log endpoint of a kubelet on loopback: the real API server asks it for the log of a pod that kwok only pretends to run."""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.support.certificate import write_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runner_platform_sandbox.kubernetes.client import KubeClient


@dataclass
class StandInKubelet:
    """Answers `/containerLogs/NAMESPACE/POD/CONTAINER` and records the pods in the state of that moment."""

    port: int
    pods: list[dict[str, Any]] = field(default_factory=list)

    def take_over(self, client: KubeClient, node: str) -> None:
        """Register this endpoint as the kubelet of a node."""
        status = {
            "addresses": [{"type": "Hostname", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
        }
        client.patch("v1", "Node", node, None, {"status": status}, subresource="status")


@contextmanager
def running(folder: Path, client: KubeClient, log: Callable[[dict[str, Any]], str]) -> Iterator[StandInKubelet]:
    """Serve until the block ends; `log` returns the log of a pod."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, _, namespace, name, _ = self.path.partition("?")[0].split("/")
            pod = client.get("v1", "Pod", name, namespace)
            kubelet.pods.append(pod)
            text = log(pod).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The API server does not verify kubelets by default.
    write_certificate(folder / "kubelet.pem", "kubelet")
    context.load_cert_chain(folder / "kubelet.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    kubelet = StandInKubelet(port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield kubelet
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
