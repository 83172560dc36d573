"""Options of a propagation run, each with what it changes: results, memory or speed."""

from dataclasses import dataclass

from model.errors import InputError

MEMORY_POLICIES = ("auto", "every", "previous", "spread", "bounded")
DIRECTIONS = ("forward", "backward", "both")
_CLIP_LENGTH = 5
_TOP_K = 20
_LARGEST_SIDE = 4320  # pixels; 8K video
DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")


@dataclass(frozen=True)
class PropagationOptions:
    """How a run is done. The defaults are the accurate ones.

    Attributes:
        clip_length: frames segmented in one parallel pass and by one memory state; 5 is accurate, 25 is fast. None: 5,
            or 1 of STM and SWEM, which are published frame by frame. With those it means the frames between two
            updates of the memory: those of a clip are segmented apart from each other.
        short_side: shorter side of the network's input in pixels; smaller is faster and loses thin parts. None:
            frames as they are.
        top_k: memory positions that a query reads; None: as the network does best, the papers' 20 or fewer. Not for STM
            and SWEM, which read all they have.
        progressive_interval: inside clips longer than this, every so many frames the last one joins a temporary memory
            (progressive matching, PCVOS 3.5); None: never. Changes nothing for shorter clips, nor for STM and SWEM.
        memory: what becomes of predicted frames (keyframes are always kept). SWEM absorbs every one into its bases and
            takes none of these policies.
            "auto": "previous" with STM, as published, and "every" with the others.
            "every": the last frame of each clip is kept for good; most accurate, memory and time grow with length.
            "previous": every fifth frame is kept for good, and always the last one until the next (STM); with clips of
            5 frames and more that is "every".
            "spread": as many frames as fit into `memory_tokens` if they are whole, the last few and others evenly
            spread over the past; flat memory and time, and a run can pause and go on elsewhere.
            "bounded": at most `memory_tokens` positions, the least used old ones are dropped; flat memory and time.
        memory_tokens: budget of "spread" and "bounded" in memory positions (a whole frame has one per 16 x 16 pixels),
            keyframes included; None: those of 16 whole frames.
        refinement: False leaves the intra-clip refinement out: other results (`benchmarks.ablation`), faster. Changes
            nothing for a network without one.
        keep_probabilities: results carry float32 probabilities of all objects; costs memory and time.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", ...
        dtype: of the convolutions: "float32", "bfloat16", "float16", "int8" (most of perclip-lite's trunk, on a CPU
            with VNNI instructions, the rest as "auto" would) or "auto": "int8" where that is possible, else bfloat16
            where the device has instructions for it, else float32. Aggregation is always float32.
        fold_batchnorm: fold BatchNorm into the convolutions; same results up to rounding, faster.
        channels_last: lay images out channels last; same results up to rounding, faster.
        thin_memory: with perclip-lite, memorise of predicted frames every position near the objects and a quarter of
            the others; same accuracy, half the memory, faster. Changes nothing for the other networks.
        focus: on a CPU, with perclip-lite, look only where something of an object may be: encode most frames of a clip
            there alone, read the memory, refine and decode there; same accuracy, much faster.
        compile: on a GPU, have torch compile the network, with CUDA graphs; the first clips wait for it. Same results
            up to rounding. Where compiling fails, a warning says so and the run goes on without.
        device_memory: gigabytes of a GPU that this process may take, from the making of a `Propagator` on; when they
            are used up, batches become smaller. None: as many as before.
        fuse_activations: on a CPU, let a convolution apply the activation behind it; same results, faster.

    Raises:
        InputError: a value is out of its range.
    """

    clip_length: int | None = None
    short_side: int | None = 480
    top_k: int | None = None
    progressive_interval: int | None = 5
    memory: str = "auto"
    memory_tokens: int | None = None
    refinement: bool = True
    keep_probabilities: bool = False
    device: str = "auto"
    dtype: str = "auto"
    fold_batchnorm: bool = True
    channels_last: bool = True
    fuse_activations: bool = True
    thin_memory: bool = True
    focus: bool = True
    compile: bool = False
    device_memory: float | None = None

    @property
    def clip_frames(self) -> int:
        """The clip length where it is known; `model.network.fitted_options` says what a network takes."""
        return self.clip_length or _CLIP_LENGTH

    @property
    def read_positions(self) -> int:
        """`top_k` where it is known; `model.network.fitted_options` says what a network takes."""
        return self.top_k or _TOP_K

    @property
    def deciding(self) -> dict[str, object]:
        """Those that a run must share with another to go on with its results: name -> JSON value."""
        names = ("clip_length", "short_side", "top_k", "progressive_interval", "memory", "memory_tokens")
        return {name: getattr(self, name) for name in names}

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k must be at least 1, not {self.top_k}")
        if self.clip_length is not None and self.clip_length < 1:
            raise InputError(f"clip_length must be at least 1, not {self.clip_length}")
        for name, least in (("short_side", 32), ("progressive_interval", 1), ("memory_tokens", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} must be at least {least} or None, not {value}")
        if self.short_side is not None and self.short_side > _LARGEST_SIDE:
            raise InputError(f"short_side must be at most {_LARGEST_SIDE}, not {self.short_side}")
        if self.device_memory is not None and not self.device_memory > 0:
            raise InputError(f"device_memory must be more than 0 gigabytes or None, not {self.device_memory}")
        if self.memory not in MEMORY_POLICIES:
            raise InputError(f"memory must be one of {', '.join(MEMORY_POLICIES)}, not {self.memory!r}")
        if self.memory_tokens is not None and self.memory not in ("spread", "bounded"):
            raise InputError('memory_tokens is the budget of memory="spread" and "bounded"; leave it out for others')
        if self.dtype not in DTYPES:
            raise InputError(f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
