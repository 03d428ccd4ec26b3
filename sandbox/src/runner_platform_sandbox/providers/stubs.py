"""The protocol's generated stubs without the rest of the Python SDK.

In a provider process `pulumi` and `pulumi.runtime` become bare packages, so that importing `pulumi.runtime.proto` does
not run the SDK's start-up. That saves 26 MB and half a second for every explicit
provider of a stack. It must run before anything imports `pulumi`, and never in a process that also runs programs, such
as tests.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def use_bare_packages() -> None:
    """Make `pulumi` and `pulumi.runtime` bare packages, unless the SDK is imported already."""
    if "pulumi" in sys.modules:
        return
    spec = importlib.util.find_spec("pulumi")
    if spec is None or spec.origin is None:
        raise SystemExit("the Python package pulumi is not installed; run `make setup`")
    root = Path(spec.origin).parent
    for name, folder in (("pulumi", root), ("pulumi.runtime", root / "runtime")):
        module = ModuleType(name)
        module.__path__ = [str(folder)]
        sys.modules[name] = module
