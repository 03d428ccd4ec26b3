"""Generated pieces of YAML: scalars, lists and objects in all styles, with anchors, tags, comments and mistakes."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.support.yaml_answers import READ_ALIKE, READ_DIFFERENTLY

_CHARACTERS = st.sampled_from(
    [
        *"ab10-_:,[]{}#&*!|>'\"%@`?.~=<\\/\n\t+ ",
        ": ",
        " #",
        "- ",
        "? ",
        "<<: ",
        "\r\n",
        "\n    ",
        "\n  ",
        "ä",
        "\xa0",
        "\x85",
        "\u2028",
        "\ufeff",
        "😀",
        "\x7f",
    ]
)
_TEXTS = st.lists(_CHARACTERS, max_size=10).map("".join)
_ODD = [
    *(
        "a: b",
        "a:b",
        "a #b",
        "# c",
        "-",
        "?",
        "? a",
        "a?b",
        "%a",
        "@a",
        "`a",
        "a]",
        "a}",
        "...",
        "---",
        "[---]",
        "&a",
        "&a *a",
        "!",
        "~a",
        "\t",
    ),
    *(
        '"a\n\n  b"',
        "'a\n  b'",
        "a\n  b",
        "|\n   x\n",
        "|+\n   x\n\n",
        "|2\n    x\n",
        ">-\n   a\n\n   b\n    c\n",
        ">+\n   a\n\n\n",
        "|1-\n   a",
    ),
    *(
        "{a: &b c}",
        "[&b c, *b]",
        "{&b c: d}",
        "{? a : b}",
        "{a: b, ? c}",
        "- - 1\n    - 2",
        "-\n    a",
        "- a: b\n    c: d",
        "[a, b,]",
        "{a: , b: }",
    ),
    *(
        "\n    a: b\n    c: d",
        "\n    - a\n    - b",
        "\n  - a\n  - b",
        "\n    a:\n    - b",
        "\n    ? a\n    : b",
        "\n    a: b # c",
        "\n    a: b: c",
    ),
    *(
        "{a: b}c",
        "{a::b}",
        "{a: :b}",
        "{a: b:}",
        "[a:b]",
        "[ : b]",
        "{: b}",
        "[?]",
        "[-]",
        "[- a]",
        "[-1, - 2]",
        "{*a : b}",
        "{&a a: *a}",
        "a\tb",
    ),
    *(
        "1_",
        "0b2",
        "._",
        "1e",
        "1e+",
        "e1",
        "+",
        "..",
        "00",
        "-01",
        "1,000",
        "0.30",
        "100000000000000000000.0",
        "secure",
        "{secure: v1:a}",
    ),
]
_KEYS = st.sampled_from(["a", "b", "c", "no", "1", "<<", '"a"', "&k a", "? a", '"\\ud800"', '"\\e"', "\u202e"])


def _flow(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.lists(values, max_size=3).map(lambda members: f"[{', '.join(members)}]")
    objects = st.lists(st.tuples(_KEYS, values), max_size=3).map(
        lambda members: f"{{{', '.join(f'{key}: {value}' for key, value in members)}}}"
    )
    blocks = st.lists(st.tuples(_KEYS, values), min_size=1, max_size=3).map(
        lambda members: "".join(f"\n    {key}: {value}" for key, value in members)
    )
    return lists | objects | blocks


PIECES = st.recursive(
    st.sampled_from([*READ_ALIKE, *READ_DIFFERENTLY, *_ODD])
    | _TEXTS
    | st.builds(json.dumps, _TEXTS, ensure_ascii=st.booleans()),
    _flow,
    max_leaves=6,
)
"""What may stand behind a key below `config`; about half of it can be read."""
