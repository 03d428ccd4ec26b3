"""Mutations: deliberate changes of the program's code and settings that open an attack, and the rules that must report each one.

A mutation changes the real program. A mock run then gives the resources, and the real policy pack evaluates them in its own process.
So these tests prove that an attack is caught, and not only that a rule runs. `python -m tests.attacks` prints the table; `docs/understand/attacks.md` holds it.
"""

from tests.support.program import load_sdks

load_sdks()  # the catalogue names classes of the SDKs
