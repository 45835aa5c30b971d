"""One image through the whole network, on one screen: the page a teacher leaves on the projector."""

from __future__ import annotations

from dashboard import frame
from dashboard.choices import Choice
from dashboard.views import view


@view(
    "Overview",
    section="Start",
    order=0,
    lede="Everything this network makes of one picture: from the pixels, through every layer, to its answer.",
)
def overview(choice: Choice) -> None:
    """The image, the layers, the prediction."""
    with frame.plate(
        "One image through the network",
        choice.facts(),
        about=frame.About("x"),
        npz=lambda: {"image": choice.image.numpy()},
        python="model.scores(image)",
    ):
        pass
