"""What every test may take for granted about its process."""

from __future__ import annotations

import signal

# A shell starts background jobs with SIGINT ignored, and so does many a CI runner; every process that a test starts would inherit
# that, and no Ctrl-C that a test sends would arrive.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
