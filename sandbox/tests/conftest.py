"""What every test may take for granted about its process."""

from __future__ import annotations

from tests.support.interrupts import allow_interrupts

allow_interrupts()
