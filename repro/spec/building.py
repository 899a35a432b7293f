"""YAML nodes into plain Python: bounded, each key with its line, and nothing that a report needs none of.

Refused are aliases, tags, doubled keys, dates, long numbers, characters that are no text, and more nodes than a report
needs. The scanner is the safe one: no tag makes it build anything but text, numbers, lists and mappings.
"""

import re
from collections.abc import Callable
from typing import Any

import yaml
from yaml.composer import Composer

from repro.errors import UserError
from repro.spec.explain import KeyPath, dotted

MAX_NODES = 50_000  # keys, values and lists; the longest report here has 6,000
MAX_DEPTH = 50  # levels; far below where Python itself would end, and with it whatever is cleaned up at that moment
MAX_KEY, MAX_NUMBER = 200, 1_000  # characters
_SCALARS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null"))
#: what acts on a terminal or turns text around, and what no encoding can hold; line breaks and tabs aside
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
#: what libyaml and PyYAML's own scanner read as different values
_OTHERWISE = re.compile("[!\ufeff]")
#: what YAML 1.1 takes for numbers in base 8 and 60: 0144 is 100, and so is 1:40
_OLD = re.compile(r"[-+]?(0[0-9]|[0-9_]+:)")
_BLOCKS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq"))


class _Counted(Composer):
    """Composes nodes, and stops where there are more than a report needs: a small file can hold half a million.

    Deeper than `MAX_DEPTH` it raises RecursionError.
    """

    nodes = depth = 0
    peek_event: Callable[[], Any]  # of either parser

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node and what is below it."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(
                None, None, f"more than {MAX_NODES:,} keys and values, which no report needs", mark
            )
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise RecursionError
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class Loader(_Counted, yaml.SafeLoader):
    """Reads with PyYAML's scanner, whose errors name a line and what was expected there."""


if yaml.__with_libyaml__:

    class _Quick(_Counted, yaml.CSafeLoader):
        """Reads with libyaml, in a third of the time: half a second less for every command."""

        def __init__(self, text: str):
            yaml.CSafeLoader.__init__(self, text)
            Composer.__init__(self)


def quickly(text: str) -> yaml.Node | None:
    """Return the mapping that a YAML text is, as libyaml reads it; None where `Loader` has to read it.

    A text that both accept means the same to both, but for a lone tag and a second byte order mark. What libyaml
    refuses is left to `Loader`: the errors that a user meets are always its own.
    """
    if not yaml.__with_libyaml__ or _OTHERWISE.search(text):
        return None
    try:
        root = _Quick(text).get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        return None
    return root if isinstance(root, yaml.MappingNode) else None


class Builder:
    """Turns YAML nodes into plain Python, notes each key's line and refuses what a report needs none of."""

    def __init__(self, name: str, lines: dict[KeyPath, int]):
        self.name, self.lines = name, lines
        self.seen: set[int] = set()
        self.loader = yaml.SafeLoader("")

    def refuse(self, node: yaml.Node, path: KeyPath, message: str) -> UserError:
        """Return the error of a node."""
        return UserError(f"{self.name}:{node.start_mark.line + 1}: {dotted(path)}: {message}")

    def build(self, node: yaml.Node | None, path: KeyPath) -> Any:
        """Build a node; a mapping's values carry their key's line, noted before, and list items their own."""
        if node is None:
            return None
        self.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in self.seen:  # two uses of one node: an alias, for which a diff would not show what changed
            raise self.refuse(node, path, "uses a YAML alias; write the block out")
        self.seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        if node.tag not in _BLOCKS:
            raise self.refuse(node, path, f"has the YAML tag {node.tag!r}; leave it out")
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*path, i)) for i, child in enumerate(node.value)]
        return self.mapping(node, path)

    def mapping(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        """Build a mapping whose keys are plain words, each given once."""
        result: dict[str, Any] = {}
        for key_node, child in node.value:
            key = key_node.value
            if not isinstance(key, str) or key == "<<" or len(key) > MAX_KEY or _HARMFUL.search(key):
                raise self.refuse(key_node, path, "has a key that is not a plain word; write the keys out")
            if key in result:
                first = self.lines[(*path, key)]
                raise self.refuse(key_node, (*path, key), f"is given twice (first at line {first}); keep one")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = self.build(child, (*path, key))
        return result

    def scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        """Build text, a number, true/false or null; dates and other tags are refused rather than guessed at."""
        if found := _HARMFUL.search(node.value):
            raise self.refuse(node, path, f"holds a character that is no text ({ord(found[0]):#x}); remove it")
        if node.tag not in _SCALARS:
            kind = node.tag.rpartition(":")[2]
            raise self.refuse(node, path, f"YAML reads {node.value[:40]!r} as a {kind}; put it in quotes")
        try:
            if len(node.value) > MAX_NUMBER and node.tag.endswith((":int", ":float")):
                raise ValueError("a number of more digits than any quantity here has")
            if node.tag.endswith((":int", ":float")) and _OLD.match(node.value):
                raise self.refuse(
                    node, path, f"YAML reads {node.value[:40]!r} as a number of another base; write it out"
                )
            return self.loader.construct_object(node)
        except (ValueError, LookupError, OverflowError):  # for example `!!int x`
            raise self.refuse(node, path, f"cannot read {node.value[:40]!r} as a value; put it in quotes") from None
