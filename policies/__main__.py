"""The policy pack, as the engine starts it: `pulumi preview --policy-pack policies`."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# The pack of another checkout uses the rules of that checkout, whatever project is installed in this environment.
sys.path.insert(0, str(FOLDER.parent))

from policies.pack import Pack  # noqa: E402  # must follow the change of sys.path
from policies.rules import RULES  # noqa: E402  # same

Pack(RULES, FOLDER / "exceptions.yaml")
