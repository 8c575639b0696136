"""The error every room raises for what a user can put right."""


class InputError(ValueError):
    """Something given (a config, a file, a data set) cannot be used; the message says what, and what to do.

    The tools print it as one line and leave with status 2.
    """
