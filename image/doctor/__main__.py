"""`python3 image/doctor` and, in the image, `doctor`."""

import sys
from pathlib import Path

if not __package__:  # started as a folder: make its modules importable under their own name alone
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from image.doctor.examination import main

sys.exit(main(sys.argv[1:]))
