"""What every test may take for granted about its process."""

from __future__ import annotations

import signal

# A shell starts background jobs with SIGINT ignored; processes of a test would inherit that, and no Ctrl-C would arrive.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
