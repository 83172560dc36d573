"""The network, to be read beside Fig. 2 of PCVOS (CVPR 2022): encode, read the memory, refine, decode, memorise."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.network.batchnorm_folding import fold_batchnorm
from model.network.compact_decoder import CompactDecoder
from model.network.compact_trunk import TRUNKS, CompactTrunk
from model.network.compact_value_encoder import CompactValueEncoder
from model.network.config import NetworkConfig
from model.network.decoder import Decoder, DecoderFrame, DecoderInput
from model.network.key_projection import KeyProjection
from model.network.position_code import PositionCode
from model.network.refinement import IntraClipRefinement
from model.network.resnet import ResNet50
from model.network.segmentation_network import FrameFeatures, SegmentationNetwork
from model.network.soft_aggregation import layer_sums
from model.network.value_encoder import ValueEncoder


class PCVOS(SegmentationNetwork):
    """Per-clip video object segmentation: the published network, STCN (no refinement) and the compact network.

    Reading the memory has no parameters and is the engine's business (`model.memory.memory_read`).
    """

    def __init__(self, config: NetworkConfig):
        super().__init__(config)
        self.compact = compact = config.trunk in TRUNKS
        self.key_encoder: CompactTrunk | ResNet50 = CompactTrunk(config.trunk) if compact else ResNet50()
        dims = self.key_encoder.dims
        kernel = 1 if compact else 3
        self.key_proj = KeyProjection(dims.f16, config.key_dim - config.position_dim, kernel)
        self.position_code = PositionCode() if config.position_dim else None
        self.key_comp = nn.Conv2d(dims.f16, config.thin_dim, kernel, padding=kernel // 2)
        self.value_encoder: CompactValueEncoder | ValueEncoder = (CompactValueEncoder if compact else ValueEncoder)(
            dims.f16, config.value_dim
        )
        self.input_proj: KeyProjection | None = None
        self.refine_transformer: IntraClipRefinement | None = None
        if config.local_key_dim is not None:
            self.input_proj = KeyProjection(dims.f16, config.local_key_dim, kernel)
            self.refine_transformer = IntraClipRefinement(
                config.local_key_dim,
                config.value_dim,
                config.refinement_mlp_dim,
                config.refinement_blocks,
                # The compact decoder relies on the scale of the value's mask channels, which a last norm would undo.
                final_norm=not compact,
            )
        self.decoder: CompactDecoder | Decoder = (CompactDecoder if compact else Decoder)(
            config.value_dim, config.thin_dim, dims, config.decoder_dims
        )

    def fold_norms(self) -> None:
        """The same network in eval mode, with less work: norms go into the convolutions beside them, in place."""
        if isinstance(self.key_encoder, CompactTrunk) and isinstance(self.value_encoder, CompactValueEncoder):
            readers = [self.key_proj.key_proj, self.key_comp, self.value_encoder.image]
            if self.input_proj is not None:
                readers.append(self.input_proj.key_proj)
            self.key_encoder.fold_statistics(readers)
        fold_batchnorm(self)

    @property
    def refines(self) -> bool:
        """True for a network with intra-clip refinement."""
        return self.refine_transformer is not None

    def leave_out_refinement(self) -> None:
        """As `SegmentationNetwork.leave_out_refinement`."""
        self.input_proj = self.refine_transformer = None

    def quantise(self) -> None:
        """As `SegmentationNetwork.quantise`."""
        assert isinstance(self.key_encoder, CompactTrunk)
        self.key_encoder.quantise()

    def encode(self, images: Tensor, corner: tuple[int, int] = (0, 0)) -> FrameFeatures:
        """Normalised images (N, 3, H, W), H and W multiples of 16; or parts of frames from this cell on."""
        pyramid = self.key_encoder(images)
        local_key = None if self.input_proj is None else self.input_proj(pyramid.f16)
        key = self.key_proj(pyramid.f16)
        if self.position_code is not None:
            place = self.position_code(*key.shape[2:], corner)
            key = torch.cat([key, place.to(key.dtype).expand(len(key), -1, -1, -1)], 1)
        return FrameFeatures(pyramid, key, self.key_comp(pyramid.f16), local_key)

    def refine(self, local_keys: Tensor | None, readouts: Tensor) -> Tensor:
        """Refines a clip's readouts (B, K, value_dim, T, h, w) by local keys (B, C, T, h, w); STCN changes nothing."""
        if self.refine_transformer is None:
            return readouts
        return self.refine_transformer(local_keys, readouts)

    def prepare_decoding(self, image: DecoderInput) -> DecoderFrame:
        """The decoder's share of work that the objects of a frame have in common."""
        return self.decoder.prepare(image)

    def decode(self, frame: DecoderFrame, readouts: Tensor) -> Tensor:
        """Readouts (N, K, value_dim, h, w) -> logits of each object at stride 4, (N, K, 4h, 4w)."""
        return self.decoder(frame, readouts)

    def encode_value(
        self,
        images: Tensor,
        f16: Tensor,
        masks: Tensor,
        layers: Sequence[int] | None = None,
        drawn: bool = False,
    ) -> Tensor:
        """As `SegmentationNetwork.encode_value`, (N, K, value_dim, h, w)."""
        masks = masks.to(images.dtype)
        return self.value_encoder(images, f16, masks, layer_sums(masks, layers, layers) - masks)
