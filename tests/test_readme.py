"""The README's Python example runs as it stands."""

import re
from pathlib import Path

from plugin.local_run.sample import render_sample

README = Path(__file__).parents[1] / "README.md"


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)[1]
    render_sample(tmp_path / "out" / "sample", frames=10, height=240, width=320)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(i) for i in range(10)]
    assert "[0 1 2]" in lines[0]
