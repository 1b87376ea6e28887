"""Shell-style command lines reach a verb's function with the right values."""

import pytest
from jsonargparse import auto_cli

from lit_rnncomp.arguments import shell_style


def gather(results: list[str], out: str = "o", flag: bool = False):
    return results, out, flag


def options(first: str, model: list[str] | None = None, flag: bool = False, count: int = 1):
    return first, model, flag, count


def call(function, *arguments):
    return auto_cli(function, args=shell_style(function, list(arguments)), parser_mode="omegaconf")


@pytest.mark.parametrize(
    "arguments", [("a", "b", "--out", "x", "--flag"), ("--out=x", "a", "--flag", "true", "b"), ("[a, b]", "--out", "x", "--flag=true")]
)
def test_a_positional_list(arguments):
    assert call(gather, *arguments) == (["a", "b"], "x", True)


@pytest.mark.parametrize(
    "models", [("--model", "m", "--model", "n=p/q.ckpt"), ("--model=m", "--model=n=p/q.ckpt"), ("--model", "[m, n=p/q.ckpt]")]
)
def test_a_repeated_option(models):
    assert call(options, "f", *models, "--count", "3") == ("f", ["m", "n=p/q.ckpt"], False, 3)


def test_flags():
    assert call(options, "--flag", "f") == ("f", None, True, 1)
    assert call(options, "f", "--flag", "false") == ("f", None, False, 1)


def test_an_unknown_option_still_fails(capsys):
    with pytest.raises(SystemExit):
        call(options, "f", "--modle", "x")
    assert "modle" in capsys.readouterr().err


def test_help_passes(capsys):
    with pytest.raises(SystemExit) as stopped:
        call(gather, "--help")
    assert stopped.value.code == 0
    assert "--flag" in capsys.readouterr().out
