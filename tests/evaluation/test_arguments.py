"""Shell-style command lines reach a verb's function with the right values."""

import pytest

from lit_rnncomp import arguments


def gather(results: list[str], out: str = "o", flag: bool = False):
    """Gathers.

    Args:
        flag: a switch.
    """
    return results, out, flag


def options(first: str, model: list[str] | None = None, flag: bool = False, on: bool = True, per_image: int = 1):
    """Has options.

    Args:
        flag: a switch.
        on: one that is on.
    """
    return first, model, flag, on, per_image


def call(function, *words):
    return arguments.call(function, list(words), "verb")


@pytest.mark.parametrize(
    "arguments",
    [
        ("a", "b", "--out", "x", "--flag"),
        ("--out=x", "a", "--flag", "true", "b"),
        ("[a, b]", "--out", "x", "--flag=true"),
    ],
)
def test_a_positional_list(arguments):
    assert call(gather, *arguments) == (["a", "b"], "x", True)


@pytest.mark.parametrize(
    "models",
    [("--model", "m", "--model", "n=p/q.ckpt"), ("--model=m", "--model=n=p/q.ckpt"), ("--model", "[m, n=p/q.ckpt]")],
)
def test_a_repeated_option(models):
    assert call(options, "f", *models, "--per_image", "3") == ("f", ["m", "n=p/q.ckpt"], False, True, 3)


def texts(first: str, out: str | None = None, model: list[str] | None = None):
    """Has options that take a text."""
    return first, out, model


@pytest.mark.parametrize("text", ["#1.png", "null", "~", "&x", "1", "[a].png", "{b: c}", "a: b", "\udcff.png", " x "])
def test_a_text_is_a_text(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "[a].png").touch()
    for words in (
        ("--out", text, "--model", text, "--model", "#2"),
        (f"--out={text}", f"--model={text}", "--model=#2"),
    ):
        assert call(texts, "f", *words) == ("f", text, [text, "#2"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", ""], "--out is empty"),
        (["--out="], "--out is empty"),
        (["--out"], "--out: expected one argument"),
        (["--out", "--model"], "--out: expected one argument"),
        (["--model", "--out", "x"], "--model+: expected one argument"),
    ],
)
def test_an_option_without_its_text_is_named(words, message, capsys):
    with pytest.raises(SystemExit):
        call(texts, "f", *words)
    assert message in capsys.readouterr().err


def test_after_two_dashes_all_words_are_names():
    assert call(gather, "--flag", "a", "--", "-b", "--out") == (["a", "-b", "--out"], "o", True)


@pytest.mark.parametrize("words", [("--per-image", "3"), ("--per-image=3",), ("--per_image", "3"), ("--per_image=3",)])
def test_dashes_and_underscores(words):
    assert call(options, "f", *words) == ("f", None, False, True, 3)


def test_switches():
    assert call(options, "--flag", "f") == call(options, "f", "--flag=true", "--on") == ("f", None, True, True, 1)
    assert call(options, "f", "--flag", "false") == call(options, "f") == ("f", None, False, True, 1)
    assert call(options, "--no-on", "f") == call(options, "f", "--on=false") == ("f", None, False, False, 1)


def encode(photo: str, quality: int | None = None, force: bool = False):
    """Has options with a short name.

    Args:
        force: replace.
    """
    return photo, quality, force


def test_short_names():
    assert call(encode, "-q", "80", "p", "-f") == call(encode, "p", "--quality=80", "--force") == ("p", 80, True)
    assert call(encode, "-f", "p") == ("p", None, True)


def test_short_names_only_where_the_option_is(capsys):
    for wrong in (["-q", "80"], ["-f"], ["-x"]):
        with pytest.raises(SystemExit):
            call(options, "f", *wrong)
        assert wrong[0] in capsys.readouterr().err


def test_an_unknown_option_still_fails(capsys):
    for wrong in ("--modle=x", "--mod-le=x", "--no-flag", "--config=x"):
        with pytest.raises(SystemExit):
            call(options, "f", wrong)
        assert wrong in capsys.readouterr().err


def test_help_passes(capsys):
    with pytest.raises(SystemExit) as stopped:
        call(gather, "--help")
    assert stopped.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("usage: verb [--out OUT] [--flag] ")
    assert "--flag a switch. (default: False)" in shown and "config" not in shown
