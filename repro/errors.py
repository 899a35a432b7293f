"""The one exception type a user's mistake becomes."""


class UserError(Exception):
    """A mistake the user can mend: one sentence naming the place, what was expected and the mend.

    The command line prints the sentence and exits with 2; nothing else in the suite catches it.
    """
