"""Limits of AWS tags: number, length, characters, and keys that belong to somebody else.

Sources: https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html (letters of every language, 128 and 256
characters, 50 tags), https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html (keys that differ in case are one) and
https://docs.aws.amazon.com/eks/latest/userguide/create-node-class.html (tags of nodes)
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from config.errors import FieldError, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_KEY: Final = 128
LONGEST_VALUE: Final = 256
MOST_FURTHER: Final = 40
"""A resource has 50 tags: the platform adds up to four and a name, and Auto Mode up to five to a node."""
FOREIGN_KEYS: Final = {
    "aws:": "AWS",
    "platform:": "the platform",
    "eks:": "EKS",
    "eks.amazonaws.com/": "EKS",
    "karpenter.sh/": "Auto Mode",
    "kubernetes.io/cluster/": "Kubernetes",
    "kubernetes.io/role/": "Kubernetes",
}
"""Beginnings of keys that a stack file may not set, and who sets them."""
_MARKS: Final = frozenset("_.:/=+-@")
_CATEGORIES: Final = ("L", "N", "Z")


def refuse_odd_tags(tags: Mapping[str, str]) -> None:
    """Refuse tags that AWS refuses, or that somebody else sets.

    Raises:
        FieldError: with key, value, limit and remedy.
    """
    if len(tags) > MOST_FURTHER:
        raise FieldError(f"has {len(tags)} tags; AWS takes 50 of a resource, so list {MOST_FURTHER} at most")
    keys: dict[str, str] = {}
    for key, value in tags.items():
        _check_text(f"key {quoted(key)}", key, LONGEST_KEY)
        _check_text(f"value {quoted(value)} of {quoted(key)}", value, LONGEST_VALUE)
        start = next(filter(key.lower().startswith, FOREIGN_KEYS), None)
        if not key.strip() or key.lower() == "name":
            raise FieldError(
                f"has key {quoted(key)}; write a key of your own, since resources have their names already"
            )
        if start is not None:
            raise FieldError(
                f"has key {quoted(key)}, which {FOREIGN_KEYS[start]} sets; write a key that does not begin with {start!r}"
            )
        twin = keys.setdefault(key.casefold(), key)
        if twin != key:
            raise FieldError(f"has keys {quoted(twin)} and {quoted(key)}, which are one key for IAM; drop one of them")


def _check_text(what: str, text: str, longest: int) -> None:
    if len(text) > longest:
        raise FieldError(f"has {what}, of {len(text)} characters; the limit is {longest}: shorten it")
    if not all(character in _MARKS or unicodedata.category(character)[0] in _CATEGORIES for character in text):
        raise FieldError(f"has {what}; write letters and digits of any language, spaces and . : / = + @ _ -")
