"""The one exception type a user's mistake becomes, and text that is safe to show."""

import re
from urllib.parse import unquote

MOST = 2000
# A password may hold any sign, @ and / too: with a colon before them, all up to the last @ of the word is hidden.
_USERS = re.compile(r"//[^\s/@:]*:[^\s]*@|//[^\s/]*@")
_SECRETS = re.compile(r"(?i)([?&;](?:[a-z_]*(?:password|passwd|pwd|token|secret)|user|api_?key)=)[^\s&;'\"]+")


class UserError(Exception):
    """A mistake the user can mend: one sentence naming the place, what was expected and the mend.

    The command line prints the sentence and exits with 2; where it is one run's, that run fails and the others go on.
    """

    def __str__(self) -> str:
        # Names of files, keys and values come from elsewhere: nothing in them may act on a terminal.
        return printable(super().__str__())


def printable(text: str) -> str:
    """Return text of any origin as one line for a terminal: what is not printable as its escape, and cut where long."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: MOST + 1])
    return line if len(text) <= MOST else line[:MOST] + "..."


def redacted(text: str, address: str = "") -> str:
    """Return a text without the users, passwords and tokens of the addresses in it.

    Of `address` the parts of user and password are hidden wherever they stand: what reads an address with an @ in its
    password may take a part of that for the host, and say so.
    """
    for part in _parts(address):
        text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "***", text)
    return _SECRETS.sub(r"\1***", _USERS.sub("//***@", text))


def _parts(address: str) -> list[str]:
    """Return what stands before the last @ of an address, cut where a reader of addresses may cut; longest first."""
    before, at, _ = address.rpartition("@")
    parts = re.split(r"[:@/?]+", before.partition("//")[2]) if at else []
    return sorted({form for part in parts for form in (part, unquote(part)) if form}, key=len, reverse=True)
