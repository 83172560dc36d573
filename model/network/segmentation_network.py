"""What the engine asks of every network: encode a frame, decode what the memory gave back, memorise a mask."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from model.confidence.calibration import Calibration
from model.network.batchnorm_folding import fold_batchnorm
from model.network.config import NetworkConfig
from model.network.decoder import DecoderInput
from model.network.resnet import Pyramid

STRIDE = 16  # of keys, values and readouts; image sizes are multiples of it


class FrameFeatures(NamedTuple):
    """What the network knows of a batch of images before any object is looked at.

    Attributes:
        pyramid: image features at strides 16, 8 and 4.
        key: (N, key_dim, h, w); the query that the memory is read with.
        thin: (N, thin_dim, h, w); joins the readout in the decoder.
        local_key: (N, local_key_dim, h, w) for the refinement, None without it.
    """

    pyramid: Pyramid
    key: Tensor
    thin: Tensor
    local_key: Tensor | None

    @property
    def decoder_input(self) -> DecoderInput:
        """Those that decoding needs."""
        return DecoderInput(self.thin, self.pyramid.f8, self.pyramid.f4)


class SegmentationNetwork(nn.Module, ABC):
    """A network that carries masks by a memory of keys and values.

    Two things that are no layers differ from network to network, and its config names them: how frames are fitted to
    the strides (`model.inference.framing`), and how the memory keeps and reads what `encode_value` makes of a frame
    (`model.memory.memory`). All else is behind these methods.
    """

    compact = False
    """True for the compact network, whose readouts carry a mask and which can be quantised."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        self.calibration = Calibration()  # of the confidence in this network's masks

    @property
    def refines(self) -> bool:
        """True for a network with intra-clip refinement."""
        return False

    def leave_out_refinement(self) -> None:
        """From now on without intra-clip refinement, in place; changes nothing for a network that has none."""

    def fold_norms(self) -> None:
        """The same network in eval mode, with less work: norms go into the convolutions beside them, in place."""
        fold_batchnorm(self)

    def quantise(self) -> None:
        """For inference on a CPU with most of the key encoder in 8-bit integers from now on, in place; compact only."""
        raise NotImplementedError

    @abstractmethod
    def encode(self, images: Tensor, corner: tuple[int, int] = (0, 0)) -> FrameFeatures:
        """Normalised images (N, 3, H, W), H and W multiples of 16; or parts of frames from this cell on."""

    def refine(self, local_keys: Tensor | None, readouts: Tensor) -> Tensor:
        """Refines a clip's readouts (B, K, C, T, h, w) by local keys (B, C, T, h, w); without refinement the same."""
        return readouts

    @abstractmethod
    def prepare_decoding(self, image: DecoderInput) -> Any:
        """The decoder's share of work that the objects of a frame have in common: a named tuple of tensors."""

    @abstractmethod
    def decode(self, frame: Any, readouts: Tensor) -> Tensor:
        """What was prepared, and readouts (N, K, C, h, w) -> logits of each object at stride 4, (N, K, 4h, 4w)."""

    @abstractmethod
    def encode_value(
        self,
        images: Tensor,
        f16: Tensor,
        masks: Tensor,
        layers: Sequence[int] | None = None,
        drawn: bool = False,
    ) -> Tensor:
        """What the memory gets of one frame and each of its objects, to which the others of its layer are shown.

        Args:
            images: as for `encode`.
            f16: their stride-16 features.
            masks: soft masks of all objects as `Framing.memory_masks` and `Framing.drawn_masks` give them, float32
                (N, K, rows, columns), 0..1.
            layers: of the K objects; None: all lie in one.
            drawn: they are exact masks of a keyframe on which nothing was predicted.

        Returns:
            (N, K, C, h, w), as this network's memory takes it.
        """
