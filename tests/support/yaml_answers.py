"""The engine's own reading of tricky values and files, measured with Pulumi 3.220 (`pulumi config --json`).

`tests/platform/test_engine_reading.py` asks the engine anew.
"""

from __future__ import annotations

from typing import Any

REFUSED: Any = object()
"""In place of a value: the engine refuses the file."""

READ_ALIKE: dict[str, Any] = {
    **{word: word for word in ("no", "on", "Yes", "y", "OFF", "N", "tRUE", "nULL", "=", "1:30", "1:30:45.5")},
    **{word: word for word in ("1.2.3", "0x", "0xZZ", "_1", "10.0.0.0/16", "12345-1-1", "Infinity", "nan", "a b")},
    **dict.fromkeys(("~", "null", "Null", "NULL", ""), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False"), False),
    "0": 0,
    "5": 5,
    "-5": -5,
    "222222222222": 222222222222,
    "1.5": 1.5,
    "-1.5": -1.5,
    "0.1": 0.1,
    '"010"': "010",
    "'2026-11-21'": "2026-11-21",
    '"no"': "no",
    '"<<"': "<<",
    '"\\x41"': "A",
    '"a\\\n   b"': "ab",
    "'a''b'": "a'b",
    "[a, b,]": ["a", "b"],
    "{a, b: }": {"a": None, "b": None},
    "[a: b]": [{"a": "b"}],
    "{no: 1, on: 2}": {"no": 1, "on": 2},
    "[&x a, *x]": ["a", "a"],
    "{&k a: 1, b: *k}": {"a": 1, "b": "a"},
    "[&x {a: 1}, *x]": [{"a": 1}, {"a": 1}],
    "[&x 1, *x, &x 2, *x]": [1, 1, 2, 2],
    '{"a":1}': {"a": 1},
    "{x:1}": {"x:1": None},
    "https://a.b:80/c": "https://a.b:80/c",
    "a#b": "a#b",
    "|2-\n       z": "  z",
    ">\n    one\n    two\n\n    three\n": "one two\nthree\n",
    '"a\x85b"': "a b",
}
"""The engine's answer by value. The reader gives the same, or refuses."""

READ_DIFFERENTLY: dict[str, Any] = {
    "010": 8,
    "0o10": 8,
    "0x10": 16,
    "0b11": 3,
    "+5": 5,
    "1_000": 1000,
    "-0": 0,
    "089": 89,
    "011111111111": 1227133513,
    "1.0": 1,
    "1.30": 1.3,
    ".5": 0.5,
    "5.": 5,
    "1e3": 1000,
    "12e5": 1200000,
    "1e400": "1e400",
    "0o8": "0o8",
    "9223372036854775807": 9223372036854776000,
    "1234567890123456789012": 1.2345678901234568e21,
    **dict.fromkeys((".inf", "-.inf", ".nan", "+.Inf"), REFUSED),
    "2026-11-21": "2026-11-21 00:00:00 +0000 UTC",
    "2026-02-30": "2026-02-30",
    "0000-01-01": "0000-01-01 00:00:00 +0000 UTC",
    "2026-11-21T10:00:00Z": "2026-11-21 10:00:00 +0000 UTC",
    "2001-12-14t21:59:43.10-05:00": "2001-12-14 21:59:43.1 -0500 -0500",
    "!!str 1": "1",
    '!!int "1"': 1,
    "!foo bar": "bar",
    "!!binary aGk=": "hi",
    "!!set {a}": {"a": None},
    "! a": "a",
    **dict.fromkeys(("{x: 1, x: 2}", '{x: 1, "x": 2}', "&a [*a]", "&a {x: *a}", "*a", "{<<: 1}"), REFUSED),
    "{<<: {x: 1}}": {"x": 1},
    '{"<<": {x: 1}}': {"x": 1},
    "{<<: {x: 1}, x: 2}": {"x": 2},
    "{1: 2}": {"1": 2},
    "{true: 2}": {"true": 2},
    "{~: 2}": {"<nil>": 2},
    "{1.5: 2}": {"1.5": 2},
    **dict.fromkeys(("{[1]: 2}", "{{x: 1}: 2}", '"\\ud800"', '"\\/"', "%a", "@a", "`a", "{a?b}"), REFUSED),
    '"\\n a"': " a",
    "|\n\n    a\n": "a\n",
    "[a:, b]": ["a:", "b"],
    '"\\u0000"': "\0",
    '"\\ufeff"': "\ufeff",
    '"\\e"': "\x1b",
}
"""The engine's answer by value that the reader refuses, since another reader gives another answer, or since the engine does."""

_SETTING = "config:\n  runner-platform:a: {x: 1}\n"
FILES_READ_ALIKE: dict[str, bytes] = {
    "plain": _SETTING.encode(),
    "without namespace": b"config:\n  a: {x: 1}\n",
    "byte order mark": b"\xef\xbb\xbf" + _SETTING.encode(),
    "Windows line ends": _SETTING.replace("\n", "\r\n").encode(),
    "old Mac line ends": _SETTING.replace("\n", "\r").encode(),
    "document markers": f"---\n{_SETTING}...\n".encode(),
    "question mark": b"config:\n  ? runner-platform:a\n  : {x: 1}\n",
}
"""Files that the engine reads as `{a: {x: 1}}`."""

FILES_REFUSED: dict[str, tuple[bytes, str]] = {
    "UTF-16": (_SETTING.encode("utf-16"), "is not UTF-8: byte 0xff in line 1; save it as UTF-8"),
    "UTF-16 without a mark": (_SETTING.encode("utf-16-le"), "line 1 has a NUL byte; remove it"),
    "UTF-32": (_SETTING.encode("utf-32"), "is not UTF-8"),
    "Latin-1": (f"{_SETTING}# über\n".encode("latin-1"), "is not UTF-8: byte 0xfc in line 3"),
    "overlong UTF-8": (_SETTING.encode() + b"# \xc0\xaf\n", "is not UTF-8: byte 0xc0 in line 3"),
    "surrogate": (_SETTING.encode() + b"# \xed\xa0\x80\n", "is not UTF-8"),
    "NUL": (_SETTING.encode() + b"# \0\n", "line 3 has a NUL byte"),
    "bell": (_SETTING.encode() + b"# \x07\n", "line 3 has a control character"),
    "tab as indentation": (
        b"config:\n\trunner-platform:a: {x: 1}\n",
        "line 2 has a tab before its text; indent with spaces",
    ),
    "tab before a value": (b"config:\n  runner-platform:a:\t{x: 1}\n", "is not YAML: found character '\\t'"),
    "second document": (f"{_SETTING}---\n{_SETTING}".encode(), "holds a second document, which the engine ignores"),
    "broken second document": (f"{_SETTING}---\n}}{{\n".encode(), "holds a second document"),
    "%YAML 1.2": (f"%YAML 1.2\n---\n{_SETTING}".encode(), "begins with a directive"),
    "%YAML 1.1": (f"%YAML 1.1\n---\n{_SETTING}".encode(), "begins with a directive"),
    "%TAG": (f"%TAG !e! tag:e,2000:\n---\n{_SETTING}".encode(), "begins with a directive"),
    "a number without end": (f"%YAML 1.{'9' * 5000}\n---\n".encode(), "is out of range"),
    "escape out of range": (b'config: {a: "\\UFFFFFFFF"}', "is out of range"),
    "config twice": (f"{_SETTING}config: {{}}\n".encode(), "config: is written twice, in lines 1 and 3"),
    "setting twice": (f"{_SETTING}  runner-platform:a: 2\n".encode(), "a: is written twice, in lines 2 and 3"),
    "twice, once without namespace": (f"{_SETTING}  a: 2\n".encode(), "config.a: is written as runner-platform:a, too"),
    "old form of a key": (b"config:\n  runner-platform:config:a: 1\n", "write runner-platform:a, or drop it"),
    "namespace with a typing error": (b"config:\n  runner-plattform:a: 1\n", "'runner-plattform' is not the namespace"),
    "namespace of a provider": (b"config:\n  aws:region: x\n", "config.aws:region: is read by nobody"),
    "key of the engine": (b"config:\n  pulumi:autonaming: {}\n", "config.pulumi:autonaming: is not a setting"),
    "unknown key": (f"confg: {{}}\n{_SETTING}".encode(), "confg: is not a setting; did you mean 'config'?"),
    "environment": (f"environment: [a]\n{_SETTING}".encode(), "environment: adds settings of Pulumi Cloud"),
    "deep": (b"config:\n  runner-platform:a: " + b"[" * 50 + b"]" * 50, "levels deep"),
    "very deep": (b"config:\n  runner-platform:a: " + b"[" * 3000 + b"]" * 3000, "levels deep"),
    "large": (_SETTING.encode() + b"#" * 200_000, "has more than 128 KiB"),
    "large by its quotes": (b"config:\n  a: ['" + b'"' * 50000 + b"']\n", "bytes of settings"),
    "many aliases": (
        b"config:\n  x: &x [1,2,3,4,5,6,7,8,9]\n  y: &y [*x,*x,*x,*x,*x,*x]\n  z: [*y,*y,*y,*y,*y,*y,*y]\n",
        "aliases stand for most of the file",
    ),
}
"""Files that are refused, with words of the message."""
