"""The policy pack, as the engine starts it: `pulumi preview --policy-pack policies`."""

import gc
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# The pack of another checkout uses the rules of that checkout, whatever project is installed in this environment.
sys.path.insert(0, str(FOLDER.parent))

gc.disable()  # nothing that is imported is garbage; searching it takes a tenth of the start

from policies.pack import Pack  # noqa: E402  # must follow the change of sys.path
from policies.rules import RULES  # noqa: E402  # same

gc.freeze()
gc.enable()
Pack(RULES, FOLDER / "exceptions.yaml")
