"""What cnnviz says when it cannot do what was asked.

Every message is one sentence for a person: it names the thing, what is wrong with it, and what would be right. The
dashboard shows these messages as they are; any other exception is a defect and goes to the log.
"""


class CnnvizError(ValueError):
    """Something a person gave cannot be used; the message says why and what would be right."""


class NetworkError(CnnvizError):
    """A network cannot be opened or does not run."""


class LayerError(CnnvizError):
    """A layer, channel or cell that this network does not have."""


class TargetError(CnnvizError):
    """A target that does not exist in this network."""


class PictureError(CnnvizError):
    """A file or array that is not a usable picture."""


class CheckpointError(CnnvizError):
    """A file of weights that cannot be read safely, or does not fit."""


class DataError(CnnvizError):
    """A data set that is not there, or is not what its name says."""


class ExplanationError(CnnvizError):
    """A map that does not exist, or cannot be computed on this network."""


class Cancelled(Exception):
    """A long computation was stopped because its caller asked for it."""
