"""Generated values of settings files, and how many cases a test generates."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

QUICK = settings(max_examples=30, deadline=None, database=None)
"""Few examples and no example database, so that a run writes no files."""

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1Gi", "4", "1h", "open", "cdk", "10.0.0.0/16", "aws", "dev", "*", "0.93.0"])
)
KEYS = st.text(max_size=6) | st.sampled_from(["id", "level", "cpu", "open", "existing", "access", "accounts", "limits"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
"""What may stand at a key of a YAML file: any scalar, list or dictionary."""
