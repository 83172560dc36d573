"""Copies to a GPU beside its work. There is none here: the order of calls is checked with stand-ins."""

from contextlib import contextmanager

import torch

from model.device.upload import Upload


def test_on_the_cpu_nothing_is_copied():
    pixels = torch.arange(6, dtype=torch.uint8)
    assert Upload(torch.device("cpu"))(pixels).data_ptr() == pixels.data_ptr()


def test_a_gpu_copies_on_its_own_stream_and_computes_when_the_copy_is_there(monkeypatch):
    calls = []

    class Stream:
        def wait_stream(self, other):
            calls.append(("wait", self, other))

    class Pixels:
        def pin_memory(self):
            calls.append("pin")
            return self

        def to(self, device, non_blocking):
            calls.append(("copy", str(device), non_blocking))
            return self

        def record_stream(self, stream):
            calls.append(("used by", stream))

    @contextmanager
    def on(stream):
        calls.append(("begin", stream))
        yield
        calls.append("end")

    side, computing = Stream(), Stream()
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: side)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: computing)
    pixels = Pixels()
    assert Upload(torch.device("cuda:0"))(pixels) is pixels
    assert calls == [
        ("begin", side),
        "pin",
        ("copy", "cuda:0", True),
        "end",
        ("wait", computing, side),
        ("used by", computing),
    ]
