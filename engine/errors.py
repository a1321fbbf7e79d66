"""The errors a user can cause and mend; each becomes one line and an exit code."""


class MerError(Exception):
    """Something the user can mend. The message says what to do; ``exit_code`` ends the command."""

    exit_code = 1


class UsageError(MerError):
    """The command was called wrongly: an unknown name, or options that contradict each other."""

    exit_code = 2


class SpecError(MerError):
    """A spec whose fields are missing, unknown, out of range, or of a newer version."""


class AudioError(MerError):
    """A file that gives no usable audio; the message is the reason in that file's row."""


class ArtifactError(MerError):
    """A model file that is missing, unsafe, or not made by mer."""


class DeviceError(MerError):
    """No GPU, driver, package or engine that fits; the message says which, and what to do."""


class DaliMissingError(DeviceError):
    """NVIDIA DALI is not installed, or cannot be loaded."""


class DeviceMemoryError(DeviceError):
    """The GPU's memory does not suffice for what was asked of it."""
