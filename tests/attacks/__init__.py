"""The program, spoiled on purpose: seeded changes of its code and its settings, and the rules of the pack that must see each.

A mutation is applied to the real program, which is then rehearsed and judged by the real pack in its own process, so what is tried is that an
attack is caught, not that a rule is called. `python -m tests.attacks` prints the table; `docs/understand/attacks.md` holds it.
"""

from tests.support.program import load_sdks

load_sdks()  # the catalogue names classes of the SDKs
