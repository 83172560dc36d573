"""What `--learn` refuses, in one line and before anything is done."""

import pytest

from plugin.cli import main


@pytest.mark.parametrize("network", ["pcvos", "stcn", "stm", "swem"])
@pytest.mark.parametrize("command", ["propagate", "cvat"])
def test_networks_that_it_does_not_suit(network, command, tmp_path, capsys):
    if command == "cvat":
        arguments = ["cvat", "propagate", "--url", "http://127.0.0.1:9", "--task", "1"]
    else:
        arguments = ["propagate", str(tmp_path), "--keyframe", "0=m.png", "--out", str(tmp_path / "r")]
    assert main([*arguments, "--model", network, "--weights", str(tmp_path / "w.pth"), "--learn"]) == 2
    error = capsys.readouterr().err
    assert f"--learn is not for {network}" in error and error.count("\n") == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--function-url", "http://127.0.0.1:9", "--learn"], "a function learns where CVAT's page asks for it"),
        (["--propose", "detector", "--learn"], "keyframes that people drew"),
        (["--learn", "0"], "seconds"),
        (["--learn", "nan"], "seconds"),
        (["--learn", "-3"], "argument"),
    ],
)
def test_what_does_not_go_together_with_it(more, words, capsys):
    try:
        code = main(["cvat", "propagate", "--url", "http://127.0.0.1:9", "--task", "1", *more])
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert code == 2 and words in error and "Traceback" not in error
