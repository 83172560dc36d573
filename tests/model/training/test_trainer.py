"""Steps of a training: what changes, what does not, and how a state is kept."""

import copy

import pytest
import torch

from model import load_network
from model.confidence.calibration import Calibration
from model.errors import InputError
from model.network.config import PCVOS_CONFIG
from model.network.pcvos import PCVOS
from model.training.recipe import Recipe
from model.training.samples.sample_shape import SampleShape
from model.training.samples.training_samples import TrainingSamples
from model.training.trainer import Trainer
from tests.model.training.data_sets import GREEN, RED, moving_squares

_CPU = torch.device("cpu")
_RECIPE = Recipe(crop=64, batch=1, objects=2, rate=1e-2)
_SAMPLES = TrainingSamples([moving_squares("a", {1: RED, 2: GREEN})], None, SampleShape(crop=64, objects=2), 0)


def _batch(number: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    sample = _SAMPLES.sample(number, 5)
    return torch.from_numpy(sample.frames)[None], torch.from_numpy(sample.masks)[None]


def _trainer(**changes) -> Trainer:
    return Trainer(load_network("perclip-lite"), Recipe(**{**vars(_RECIPE), **changes}), _CPU)


def _copy(network: PCVOS) -> dict[str, torch.Tensor]:
    return copy.deepcopy(network.state_dict())


def _changed(before: dict[str, torch.Tensor], network: PCVOS) -> set[str]:
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


def _is_frozen(name: str, leading: int) -> bool:
    parts = name.split(".")
    return parts[0] == "key_encoder" and (
        parts[1] == "Conv" or "depthwise" in parts or (parts[1] == "blocks" and int(parts[2]) < leading)
    )


def test_steps_on_one_batch_lower_its_loss():
    trainer, batch = _trainer(), _batch()
    losses = [trainer.learn(*batch) for _ in range(8)]
    assert trainer.step == 8
    assert all(loss.gradient > 0 and 0 <= loss.dice <= 1 for loss in losses)
    assert losses[-1].cross_entropy < 0.8 * losses[0].cross_entropy
    assert losses[-1].dice < 0.8 * losses[0].dice


def test_void_teaches_nothing():
    frames, masks = _batch()
    void = torch.ones(masks[:, :, 0].shape, dtype=torch.bool)
    masks[:, 1:] = 0  # no mask may be there
    nothing = _trainer().learn(frames, masks, void=void)
    assert (nothing.cross_entropy, nothing.dice, nothing.gradient) == (0, 0, 0)
    assert _trainer().learn(frames, masks).gradient > 0  # it learns that the objects are gone


def test_frozen_parts_stay_and_trained_parts_change_and_the_average_lies_between():
    trainer = _trainer(average=0.9)
    network = trainer._network
    before = _copy(network)
    trainer.learn(*_batch())  # the first step leaves the average at a tenth of the way at most
    average = _copy(trainer.average)
    trainer.learn(*_batch(1))
    changed = _changed(before, network)
    parameters = dict(network.named_parameters())
    for name in before:
        if name not in parameters or _is_frozen(name, _RECIPE.frozen_blocks):
            assert name not in changed, name
    trained = {name for name in parameters if not _is_frozen(name, _RECIPE.frozen_blocks)}
    assert trained - changed <= {"refine_transformer.layers.0.blocks.1.attn.relative_position_bias_table"}
    assert "key_encoder.blocks.6.expand.weight" in changed and "key_proj.key_proj.weight" in changed
    decay = 2 / 11  # (step + 1) / (step + 10) of the second step
    for name in trained & changed:
        expected = decay * average[name] + (1 - decay) * parameters[name]
        torch.testing.assert_close(trainer.average.state_dict()[name], expected, rtol=1e-4, atol=1e-6)
        assert not torch.equal(trainer.average.state_dict()[name], parameters[name].detach()), name


def test_the_average_gets_no_slower_than_the_recipe_says():
    trainer = _trainer(average=0.05)
    trainer.learn(*_batch())
    before = _copy(trainer.average)
    trainer.learn(*_batch())
    name = "key_proj.key_proj.weight"
    expected = 0.05 * before[name] + 0.95 * trainer._network.state_dict()[name]
    torch.testing.assert_close(trainer.average.state_dict()[name], expected, rtol=1e-4, atol=1e-6)


def test_a_frozen_trunk_stays_whole():
    trainer = _trainer(trunk_rate=0.0)
    before = _copy(trainer._network)
    trainer.learn(*_batch())
    changed = _changed(before, trainer._network)
    assert changed and not any(name.startswith("key_encoder.") for name in changed)


def test_the_trunk_learns_at_a_part_of_the_rate():
    trainer = _trainer(trunk_rate=0.1, rate=1e-3)
    trainer.learn(*_batch())
    rates = {id(parameter): group["lr"] for group in trainer._optimiser.param_groups for parameter in group["params"]}
    network = trainer._network
    assert rates[id(network.decoder.pred.weight)] == pytest.approx(1e-3 * 0.01)  # first step of the warm-up
    assert rates[id(network.key_encoder.blocks[9].project.weight)] == pytest.approx(1e-4 * 0.01)
    assert id(network.key_encoder.Conv.weight) not in rates


def test_a_diverged_step_is_refused_and_changes_nothing():
    trainer = _trainer()
    with torch.no_grad():
        trainer._network.decoder.pred.bias.fill_(torch.nan)
    before = _copy(trainer._network)
    with pytest.raises(InputError, match="diverged in step 0: start again with a lower rate"):
        trainer.learn(*_batch())
    before.pop("decoder.pred.bias")
    state = trainer._network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in before.items()) and trainer.step == 0


def test_a_saved_state_is_gone_on_from_exactly(tmp_path):
    straight = _trainer()
    straight.learn(*_batch(0))
    straight.save(tmp_path / "state.pt")
    resumed = Trainer.resumed(tmp_path / "state.pt", straight.recipe, _CPU)
    assert resumed.step == 1
    assert resumed.learn(*_batch(1)) == straight.learn(*_batch(1))
    for a, b in ((resumed._network, straight._network), (resumed.average, straight.average)):
        assert not _changed(_copy(a), b)


def test_a_kill_while_the_state_is_written_leaves_the_old_one(tmp_path, monkeypatch):
    trainer, path = _trainer(), tmp_path / "state.pt"
    trainer.save(path)
    old = path.read_bytes()

    def killed(_state, target):
        target.write_bytes(old[: len(old) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    trainer.step = 5
    with pytest.raises(KeyboardInterrupt):
        trainer.save(path)
    assert path.read_bytes() == old
    assert Trainer.resumed(path, trainer.recipe, _CPU).step == 0


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    def full(_state, _target):
        raise RuntimeError("PytorchStreamWriter failed writing file\nand more")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"state\.pt cannot be written .*make room") as caught:
        _trainer().save(tmp_path / "state.pt")
    assert "\n" not in str(caught.value)


def _without(key: str):
    def change(path, _content):
        state = torch.load(path, weights_only=True)
        del state[key]
        torch.save(state, path)

    return change


@pytest.mark.parametrize(
    "damage",
    [
        lambda path, content: path.write_bytes(content[: len(content) // 2]),
        lambda path, _content: path.write_bytes(b"nothing"),
        lambda path, _content: torch.save([1, 2], path),
        *(_without(key) for key in ("recipe", "config", "network", "optimiser", "step")),
    ],
)
def test_a_damaged_state_is_refused_in_one_line(tmp_path, damage, saved_state):
    path = tmp_path / "state.pt"
    path.write_bytes(saved_state)
    damage(path, saved_state)
    with pytest.raises(InputError, match=r"state\.pt is no readable training state") as caught:
        Trainer.resumed(path, _RECIPE, _CPU)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def saved_state(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("state") / "state.pt"
    _trainer().save(path)
    return path.read_bytes()


def test_another_recipe_is_refused(tmp_path, saved_state):
    (tmp_path / "state.pt").write_bytes(saved_state)
    with pytest.raises(InputError, match=r"written with rate 0\.01, not 0\.1: resume with the same settings"):
        Trainer.resumed(tmp_path / "state.pt", Recipe(**{**vars(_RECIPE), "rate": 0.1}), _CPU)
    with pytest.raises(InputError, match="nothing to resume"):
        Trainer.resumed(tmp_path / "other.pt", _RECIPE, _CPU)


@pytest.mark.parametrize("from_scratch", [False, True])
def test_batchnorm_learns_its_statistics_only_from_scratch(from_scratch):
    trainer = Trainer(PCVOS(PCVOS_CONFIG), Recipe(network="pcvos", crop=64), _CPU, from_scratch)
    modes = {module.training for module in trainer._network.modules() if isinstance(module, torch.nn.BatchNorm2d)}
    assert modes == {from_scratch}
    assert not any(module.training for module in trainer.average.modules())


def test_a_resumed_training_knows_what_it_began_from(tmp_path):
    network = load_network("perclip-lite")
    network.calibration = Calibration(slope=2.5)
    Trainer(network, _RECIPE, _CPU, from_scratch=True).save(tmp_path / "state.pt")
    resumed = Trainer.resumed(tmp_path / "state.pt", _RECIPE, _CPU)
    assert resumed._from_scratch and resumed.average.calibration == Calibration(slope=2.5)
    assert resumed.average.config == network.config
