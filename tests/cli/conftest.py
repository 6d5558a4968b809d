"""What the tests of commands have in common."""

import pytest
from support.tiny import TINY_TOML, write_text


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working directory, with the scale tiny.toml and text.txt."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY_TOML)
    write_text(tmp_path)
    return tmp_path
