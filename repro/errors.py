"""The one exception type a user's mistake becomes."""

MOST = 2000


class UserError(Exception):
    """A mistake the user can mend: one sentence naming the place, what was expected and the mend.

    The command line prints the sentence and exits with 2; nothing else in the suite catches it.
    """

    def __str__(self) -> str:
        # Names of files, keys and values come from elsewhere: nothing in them may act on a terminal.
        return printable(super().__str__())


def printable(text: str) -> str:
    """Return text of any origin as one line for a terminal: what is not printable as its escape, and cut where long."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: MOST + 1])
    return line if len(text) <= MOST else line[:MOST] + "..."
