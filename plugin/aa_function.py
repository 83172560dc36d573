"""The tracker as a native function of CVAT Online and Enterprise, for an agent that cvat-cli runs.

`cvat-cli function create-native` and `run-agent` take it as `--function-module perclip.plugin.aa_function` where
Perclip was installed with `pip install .`, as `plugin.aa_function` in a checkout, or by the path of this file as
`--function-file`; the arguments of `create` as `-p device=str:cuda`.
"""

from dataclasses import dataclass, field

from cvat_sdk.auto_annotation import (
    BadFunctionError,
    TrackableShape,
    TrackingFunctionContext,
    TrackingFunctionShapeContext,
    TrackingFunctionSpec,
)
from PIL import Image

from model.program.command_line import calm_threads

calm_threads()  # before torch is loaded

from model.data.pixel_formats import Pixels  # noqa: E402
from model.errors import InputError  # noqa: E402
from model.inference.framing import Framing  # noqa: E402
from model.inference.prepared_network import InferenceNetwork  # noqa: E402
from model.network.checkpoint import load_network  # noqa: E402
from model.network.config import DEFAULT_NETWORK  # noqa: E402
from model.options import PropagationOptions  # noqa: E402
from model.tracking.bounded_cache import BoundedCache  # noqa: E402
from model.tracking.frame_recall import FrameRecall, drawn_logits  # noqa: E402
from model.tracking.frame_tracker import FrameTracker, frame_masks  # noqa: E402
from model.tracking.remembered_frames import Remembered, RememberedFrame  # noqa: E402
from plugin.shapes.drawn_shape import SHAPE_TYPES, mask_to_points, points_to_mask  # noqa: E402


@dataclass(frozen=True)
class PreparedImage:
    """An image for any number of shapes.

    Attributes:
        pixels: of the image.
        framing: geometry of images of this size.
        small: the image as it is remembered, by the bits of its scale, see `TrackingState.depth`.
    """

    pixels: Pixels
    framing: Framing
    small: dict[int | None, bytes] = field(default_factory=dict)


@dataclass
class TrackingState:
    """What is known of one object; it grows no further than a few remembered frames, about 220 kB.

    Attributes:
        size: height and width of its images.
        kind: of its shapes: "mask", "polygon" or "rectangle".
        polygon: points of the last polygon that was seen; None for other kinds.
        images: looked at since the object was drawn.
        memory: what is remembered of it.
        depth: bits of their scale, that of the brightest image so far, where they are grays of more than 8 bits; None:
            they are not.
    """

    size: tuple[int, int]
    kind: str
    polygon: list[float] | None
    images: int
    memory: Remembered
    depth: int | None = None


class PerclipTracker:
    """Follows one shape at a time: a `cvat_sdk.auto_annotation.TrackingFunction`.

    Answers as the Nuclio function does for this object alone, but for rectangles that are lost: they are None here.
    Images may come in any order.

    Limitations: CVAT asks for one image at a time and says nothing of the other objects: this cannot be as good or as
    fast as a whole clip at once.

    Attributes:
        spec: says that masks, polygons and rectangles can be followed.
    """

    spec = TrackingFunctionSpec(supported_shape_types=SHAPE_TYPES)

    def __init__(self, tracker: FrameTracker, cache_bytes: int):
        """Takes a tracker and what may be kept to save time."""
        self._tracker = tracker
        self._recall = FrameRecall(tracker, BoundedCache(cache_bytes))

    def preprocess_image(self, context: TrackingFunctionContext, image: Image.Image) -> PreparedImage:
        """The image, prepared once for all shapes on it; of any mode that CVAT stores.

        Raises:
            BadFunctionError: it is of another mode.
        """
        try:
            pixels = Pixels.of(image)
        except (ValueError, OSError) as error:
            raise BadFunctionError(f"the image cannot be read: {error}") from None
        return PreparedImage(pixels, self._tracker.framing(*pixels.values.shape[:2]))

    def init_tracking_state(
        self, context: TrackingFunctionShapeContext, pp_image: PreparedImage, shape: TrackableShape
    ) -> TrackingState:
        """The state of a shape that was drawn on an image.

        Raises:
            BadFunctionError: the points make no shape on this image. It is the SDK's only error whose text reaches the
                person who drew it.
        """
        height, width = pp_image.pixels.values.shape[:2]
        if shape.type not in SHAPE_TYPES:
            raise BadFunctionError(f"a {shape.type} cannot be followed: draw one of {', '.join(SHAPE_TYPES)}")
        try:
            mask = points_to_mask(shape.type, shape.points, height, width, pp_image.pixels.rgb)
        except InputError as error:
            raise BadFunctionError(f"the {shape.type} cannot be followed: {error}") from None
        if not mask.any():
            raise BadFunctionError(f"the {shape.type} has no pixel inside the {width}x{height} image: draw it there")
        depth = pp_image.pixels.depth
        seen = RememberedFrame.of(0, self._small(pp_image, depth), drawn_logits(pp_image.framing, mask))
        polygon = list(shape.points) if shape.type == "polygon" else None
        return TrackingState((height, width), shape.type, polygon, 0, Remembered((seen,)), depth)

    def track(
        self, context: TrackingFunctionShapeContext, pp_image: PreparedImage, state: TrackingState
    ) -> TrackableShape | None:
        """The shape on another image, of the type that was drawn; None where the object is not seen.

        Changes the state. An object that is not seen is looked for again on the next image.

        Raises:
            BadFunctionError: the image has another size than the one that the shape was drawn on.
        """
        size = pp_image.pixels.values.shape[:2]
        if size != state.size:
            raise BadFunctionError(
                f"the shape was drawn on an image of {state.size[1]}x{state.size[0]} pixels and cannot be followed to "
                f"one of {size[1]}x{size[0]}: draw it anew there"
            )
        framing = pp_image.framing
        depth = max((d for d in (pp_image.pixels.depth, state.depth) if d is not None), default=None)
        if depth is not None and state.depth is not None and depth > state.depth:
            state.memory = self._recall.darkened(framing, state.memory, depth - state.depth)
        state.depth = depth
        small = self._small(pp_image, depth)
        frame = self._recall.encoded(framing, small)
        memory = self._recall.memory(framing, state.memory)
        logits = self._tracker.segment(framing, frame, [memory])
        points = mask_to_points(frame_masks(framing, logits, [0]).mask(1), state.kind, previous=state.polygon)
        state.images += 1
        if points is None:
            return None
        seen = RememberedFrame.of(state.images, small, logits[0])
        state.memory = self._recall.remember(framing, state.memory, memory, seen, frame)
        if state.kind == "polygon":
            state.polygon = points  # TrackableShape has copied them
        return TrackableShape(type=state.kind, points=points)

    def _small(self, image: PreparedImage, depth: int | None) -> bytes:
        """An image as it is remembered, at a scale."""
        if depth not in image.small:
            image.small[depth] = self._recall.small_image(image.framing, image.pixels.rgb(depth))
        return image.small[depth]


def create(
    network: str = DEFAULT_NETWORK,
    weights: str | None = None,
    device: str = "auto",
    short_side: int = 480,
    cache_megabytes: float = 256.0,
) -> PerclipTracker:
    """What cvat-cli calls, with the values of its `-p NAME=TYPE:VALUE` options.

    Args:
        network: its name.
        weights: path of a checkpoint; None: those that ship.
        device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:1".
        short_side: shorter side of the network's input in pixels; smaller is faster and loses thin parts.
        cache_megabytes: what may be kept between calls to save time; changes no answer.

    Raises:
        InputError: there is no such network or device.
        CheckpointError: the weights cannot be used.
    """
    options = PropagationOptions(device=device, short_side=short_side)
    tracker = FrameTracker(InferenceNetwork(load_network(network, weights), options), options)
    return PerclipTracker(tracker, int(cache_megabytes * 2**20))
