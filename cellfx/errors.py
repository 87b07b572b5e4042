"""The error that tells what a user can mend from a defect of ours, by its class."""


class UserError(ValueError):
    """Settings or data that do not fit: the message says what was wrong, what was got, what was expected, what to do.

    Where a part of a result may be missing, such as a score or a picture, this error leaves it out; any other is a
    defect and is shown as one.
    """
