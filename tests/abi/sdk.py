# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads the SDK's headers: structs, their members, the comments of slots, and the inline wrappers.

The headers keep one style (tests/abi/test_slots.py sees to it), so this is a reader of that style and no C parser.
"""
import dataclasses
import glob
import os
import re

SDK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../sdk")


@dataclasses.dataclass
class Member:
    name: str
    text: str      # the declaration, on one line, without comments
    comment: str   # the one that stands before it, or behind it
    is_slot: bool  # a function pointer

    def arguments(self):
        """Of a slot."""
        return split_arguments(self.text[self.text.index("(", self.text.index("(*") + 2) + 1:self.text.rindex(")")])


@dataclasses.dataclass
class Struct:
    name: str
    header: str
    members: list


@dataclasses.dataclass
class Wrapper:
    name: str
    header: str
    returns: str
    arguments: list  # "GantryContent *self"
    body: str


def headers():
    return sorted(os.path.relpath(path, SDK) for path in glob.glob(f"{SDK}/gantry/*.h"))


def read(header):
    with open(f"{SDK}/{header}", encoding="utf-8") as file:
        return file.read()


def split_arguments(text):
    """At commas outside of parentheses."""
    found, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            found.append(text[start:i].strip())
            start = i + 1
    return found + [text[start:].strip()]


def parse_members(body):
    members, comment, at = [], "", 0
    token = re.compile(r"\s*(?:(/\*.*?\*/)|([^;/]*(?:/(?!\*)[^;/]*)*);)", re.S)
    while match := token.match(body, at):
        at = match.end()
        if match[1] is not None:
            behind = match[1].startswith("/**<") and members
            if behind:
                members[-1].comment = match[1]
            else:
                comment = match[1]
            continue
        text = " ".join(re.sub(r"/\*.*?\*/", " ", match[2], flags=re.S).split())
        if text == "GANTRY_VALUE":
            members += [Member("size", "size_t size", "", False), Member("clear", "GDestroyNotify clear", "", False)]
        elif slot := re.search(r"\(\*\s*(\w+)\)", text):
            members.append(Member(slot[1], text, comment, True))
        elif text:
            members += [Member(re.search(r"(\w+)\s*(?:\[[^]]*\])?$", part)[1], text, comment, False) for part in text.split(",")]
        comment = ""
    return members


def structs():
    found = []
    for header in headers():
        text = read(header)
        for match in re.finditer(r"^(?:typedef struct\s*\{(?P<a>.*?)^\}\s*(?P<name>\w+);|struct\s+_(?P<tag>\w+)\s*\{(?P<b>.*?)^\};)",
                                 text, re.S | re.M):
            found.append(Struct(match["name"] or match["tag"], header, parse_members(match["a"] or match["b"])))
    return found


def vtables():
    """What has slots: vtables, the host, the descriptor."""
    return [struct for struct in structs() if any(member.is_slot for member in struct.members)]


def wrappers():
    found = []
    for header in headers():
        text = re.sub(r"/\*.*?\*/", " ", read(header), flags=re.S)
        for match in re.finditer(r"^static inline ([^\n;]+?)\n(\w+) \(([^{;]*)\)\n\{(.*?)^\}", text, re.S | re.M):
            found.append(Wrapper(match[2], header, match[1], split_arguments(" ".join(match[3].split())), match[4]))
    return found
