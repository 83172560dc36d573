"""Compiling and bounded device memory, as far as they can be tried without a GPU."""

import numpy as np
import pytest
import torch

from model import InputError, PerclipError, PropagationOptions, Propagator, load_network
from model.device.device_memory import bound_device_memory
from model.inference.compiled_parts import CompiledPart, compile_parts
from model.inference.prepared_network import InferenceNetwork
from model.network.pcvos import PCVOS

CPU = torch.device("cpu")


def test_sizes_that_come_often_are_compiled_and_give_the_same(monkeypatch):
    compiled = []

    def compile_(function, **_):
        def run(*inputs):
            compiled.append(inputs[0].shape[0])
            return function(*inputs)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    part = CompiledPart("twice", lambda x: (2 * x, None), CPU)
    for size in (1, 5, 5, 5, 5, 2, 2, 1, 1, 7, 7, 7, 9, 9, 9):
        doubled, nothing = part(torch.ones(size))
        assert doubled.tolist() == [2.0] * size and nothing is None
    assert compiled == [5, 5, 1, 7]  # from the third call on; the fourth size stays as it is
    for _ in range(3):
        part(torch.ones(2))
    part(torch.ones(5))
    assert compiled == [5, 5, 1, 7, 5]  # and takes no other's place


def test_where_compiling_fails_a_warning_says_so_once_and_work_goes_on(monkeypatch):
    def compile_(function, **_):
        def run(*_):
            raise RuntimeError("no compiler found\nand much more")

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    part = CompiledPart("decode", lambda x: x + 1, CPU)
    part(torch.zeros(1)), part(torch.zeros(1))
    with pytest.warns(RuntimeWarning, match=r"^decode is not compiled, and so slower: no compiler found$"):
        assert part(torch.zeros(1)).item() == 1
    assert part(torch.zeros(1)).item() == 1  # warnings are errors here


def _masks(squares, frames: int = 10, **options) -> np.ndarray:
    each = {"short_side": None, "dtype": "float32", "device": "cpu", "clip_length": 8, "focus": False, **options}
    results = Propagator(load_network("perclip-lite"), PropagationOptions(**each)).run(
        squares.frames[:frames], [squares.keyframe(0)]
    )
    return np.stack([result.label_map for result in results])


@pytest.mark.parametrize("most", [1, 3])
def test_when_memory_runs_out_batches_become_smaller(squares, monkeypatch, most):
    expected = _masks(squares)
    monkeypatch.setattr("model.inference.prepared_network._MICRO_BATCH", {"cpu": 16})
    monkeypatch.setattr("model.inference.prepared_network.InferenceNetwork.in_pieces", False)
    refused, largest = [], []
    for name, count in (("encode", lambda x: len(x)), ("decode", lambda _, r: r.shape[0] * r.shape[1])):
        original = getattr(PCVOS, name)

        def limited(self, *inputs, original=original, count=count):
            if count(*inputs) > most:
                refused.append(count(*inputs))
                raise torch.OutOfMemoryError("CUDA out of memory")
            largest.append(count(*inputs))
            return original(self, *inputs)

        monkeypatch.setattr(PCVOS, name, limited)
    assert (_masks(squares) == expected).mean() > 0.999
    assert most // 2 < max(largest) <= most
    assert len(refused) < 8  # it is remembered, and not tried with every clip


@pytest.mark.parametrize("part", ["encode", "decode"])
@pytest.mark.parametrize("length", [1, 8])
def test_when_one_image_is_too_much_an_error_says_what_to_do_and_the_next_run_works(squares, monkeypatch, part, length):
    monkeypatch.setattr("model.inference.prepared_network._MICRO_BATCH", {"cpu": 16})
    network = load_network("perclip-lite")
    options = {"short_side": None, "dtype": "float32", "device": "cpu", "focus": False, "clip_length": length}
    propagator = Propagator(network, PropagationOptions(**options))
    expected = [r.label_map for r in propagator.run(squares.frames[:5], [squares.keyframe(0)])]

    def refuse(self, *inputs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(PCVOS, part, refuse)
        with pytest.raises(PerclipError, match="smaller short side") as caught:
            list(propagator.run(squares.frames, [squares.keyframe(0)]))
        assert isinstance(caught.value, MemoryError)  # as which the function answers that a call is too large
    again = [r.label_map for r in propagator.run(squares.frames[:5], [squares.keyframe(0)])]
    assert np.mean(np.equal(again, expected)) > 0.999


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_the_bound_is_set_for_a_device_with_its_number(monkeypatch, name):
    asked = []

    class Properties:
        total_memory = 100 * 10**9

    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Properties)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *bound: asked.append(bound))
    index = {"cuda": 3, "cuda:1": 1}[name]
    for gigabytes in (25.0, 400.0, None):
        bound_device_memory(torch.device(name), gigabytes)
    assert asked == [(0.25, index), (1.0, index), (1.0, index)]


def test_compiling_is_not_for_processors():
    with pytest.raises(InputError, match="for GPUs"):
        Propagator(load_network("perclip-lite"), PropagationOptions(device="cpu", compile=True))


def test_all_parts_of_a_network_are_compiled_and_give_the_same(squares, monkeypatch):
    compiled = set()

    def compile_(function, **_):
        def run(*inputs):
            compiled.add(function.__name__)
            return function(*inputs)

        return run

    expected = _masks(squares, 24)
    monkeypatch.setattr(torch, "compile", compile_)
    original = InferenceNetwork.__init__

    def prepared(self, network, options):
        original(self, network, options)
        compile_parts(self._network, CPU)

    monkeypatch.setattr(InferenceNetwork, "__init__", prepared)
    assert (_masks(squares, 24, clip_length=4) == _masks(squares, 24, clip_length=4)).all()
    assert (_masks(squares, 24) == expected).all()
    assert compiled == {"encode", "refine", "prepare_decoding", "decode", "encode_value"}


@pytest.mark.parametrize("gigabytes", [0, -1.0, float("nan")])
def test_a_bound_must_be_a_positive_number(gigabytes):
    with pytest.raises(InputError, match="device_memory"):
        PropagationOptions(device_memory=gigabytes)
