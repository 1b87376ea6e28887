import json
import math
import re
import sys
from datetime import date
from itertools import permutations, product
from pathlib import Path

import pytest
import yaml

from lit_rnncomp.sweep.definition import Choice, Hyperband, Range, SweepError, best_of
from lit_rnncomp.sweep.reading import read_sweep

SWEEPS = sorted((Path(__file__).resolve().parents[2] / "sweeps").glob("*.yaml"))
PLAIN = {
    "method": "random",
    "metric": {"name": "auc", "goal": "maximize"},
    "parameters": {"lr": {"min": 0.1, "max": 1.0}},
    "command": ["x"],
}


@pytest.fixture
def read(tmp_path):
    def of(**changes):
        data = {key: value for key, value in {**PLAIN, **changes}.items() if value is not None}
        (tmp_path / "some.yaml").write_text(yaml.safe_dump(data))
        return read_sweep(tmp_path / "some.yaml")

    return of


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_sweeps_that_ship_are_read(path):
    sweep = read_sweep(path)
    entropy = path.stem == "entropy"
    metric = ("val/bits_per_bit", "minimize") if entropy else ("val/auc_ms_ssim_best", "maximize")
    assert (sweep.metric, sweep.goal) == metric
    assert (sweep.hyperband is None) == (sweep.method == "grid"), "a table compares runs of one length"
    assert "--trainer.logger.init_args.log_model=true" in sweep.command
    options = {word.partition("=")[0] for word in sweep.command}
    assert ({"--data.train", "--data.val"} <= options) == (path.stem != "smoke"), "what is measured is not trained on"
    assert sweep.command[:3] == ("${env}", "lit-rnncomp", "fit")
    assert sweep.command[3 if entropy else -1] == "${args}", "a swept value wins, but a whole recipe is a beginning"


def test_there_is_a_sweep_of_each_kind():
    sizes = {path.stem: sweep.grid_size() for path in SWEEPS if (sweep := read_sweep(path)).method == "grid"}
    assert sizes == {
        "architectures": 4 * 3 * 3,
        "table": 4 * 4,
        "seeds": 3 * 2 * 2,
        "longer": 3,
        "training_sets": 4 * 3,
        "front_end": 5,
        "entropy": 4,
    }
    assert {path.stem for path in SWEEPS} - set(sizes) == {"learning_rate", "residual_gru_dct64", "smoke"}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"value": 3}, Choice((3,))),
        ({"value": 3, "distribution": "constant"}, Choice((3,))),
        ({"values": [2, "a", None, True, [0.9, 0.99]]}, Choice((2, "a", None, True, "[0.9, 0.99]"))),
        ({"values": [1, 1, "inf"], "distribution": "categorical"}, Choice((1, 1, "inf"))),
        ({"distribution": "int_uniform", "min": 1.0, "max": 8}, Range(1, 8, integer=True)),
        ({"min": 1, "max": 8}, Range(1, 8, integer=True)),
        ({"min": 1, "max": 8.0}, Range(1, 8)),
        ({"distribution": "uniform", "min": 1, "max": 8}, Range(1, 8)),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, Range(0, 1, step=0.25)),
        ({"distribution": "q_uniform", "min": 16, "max": 64, "q": 16}, Range(16, 64, step=16, integer=True)),
        ({"distribution": "q_uniform", "min": 10.0, "max": 70, "q": 16}, Range(16, 64, step=16, integer=True)),
        ({"distribution": "q_uniform", "min": 0.1, "max": 0.7, "q": 0.3}, Range(0.3, 0.6, step=0.3)),
        ({"distribution": "q_uniform", "min": 3, "max": 8}, Range(3, 8, step=1, integer=True)),
        ({"distribution": "log_uniform_values", "min": 1e-4, "max": 0.1}, Range(1e-4, 0.1, log=True)),
        ({"distribution": "log_uniform", "min": 0, "max": 1}, Range(1.0, 2.718281828459045, log=True)),
    ],
)
def test_parameters(read, given, meant):
    assert read(parameters={"x": given}).parameters == {"x": meant}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"type": "hyperband", "min_iter": 3}, Hyperband(3, None, 3)),
        ({"type": "hyperband", "min_iter": 2, "max_iter": 18, "eta": 2}, Hyperband(2, 18, 2)),
        ({"type": "hyperband", "max_iter": 27, "s": 2}, Hyperband(3, 27, 3)),
        ({"type": "hyperband", "max_iter": 27, "s": 10**9}, Hyperband(1, 27, 3)),
    ],
)
def test_early_stopping(read, given, meant):
    assert read(early_terminate=given).hyperband == meant


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "best"}, "method is 'best', must be grid, random or bayes"),
        ({"metric": {"name": "auc"}}, "metric is .* must be like"),
        ({"parameters": {}}, "parameters must be a mapping"),
        ({"parametres": {}}, "unknown key 'parametres'"),
        ({"metric": {"name": "auc", "goal": "maximize", "target": 1}}, "metric has 'target', which does not run"),
        ({"parameters": {True: {"value": 1}}}, "parameters has the key True, which is no text"),
        ({"program": ["a.py"]}, r"program is \['a.py'\], must be the name of a file"),
        ({"parameters": {"x": 3}}, "parameter x is 3, must be like"),
        ({"parameters": {"x": {"values": []}}}, "parameter x: values is"),
        ({"parameters": {"x": {"min": 1}}}, "parameter x needs value, values, or min and max"),
        ({"parameters": {"x": {"min": "1e-4", "max": 1}}}, "parameter x needs .* 1.0e-4"),
        ({"parameters": {"x": {"min": 2, "max": 1}}}, "parameter x: 2 to 1 is no range"),
        (
            {"parameters": {"x": {"min": 0.0, "max": 1.0, "distribution": "log_uniform_values"}}},
            "0.0 to 1.0 is no range for log_uniform",
        ),
        (
            {"parameters": {"x": {"min": 0.0, "max": 1.0, "distribution": "beta"}}},
            "distribution beta does not run without a server",
        ),
        (
            {"parameters": {"x": {"min": 0.0, "max": 1.0, "q": 0.5}}},
            "x: q goes with distribution q_uniform, not with uniform",
        ),
        ({"parameters": {"x": {"min": 1, "max": 8, "q": 2}}}, "x: q goes with .*, not with int_uniform"),
        ({"parameters": {"x": {"values": [1], "q": 2}}}, "x has 'q' beside its values"),
        (
            {"parameters": {"x": {"min": 1, "max": 8, "q": 0, "distribution": "q_uniform"}}},
            "q is 0, must be a number above 0",
        ),
        (
            {"parameters": {"x": {"min": 1, "max": 2, "q": 5, "distribution": "q_uniform"}}},
            "no multiple of q=5 is between",
        ),
        ({"parameters": {"x": {"value": 1, "values": [1]}}}, "x has 'values' beside its value"),
        ({"parameters": {"x": {"min": 0.5, "max": 8, "distribution": "int_uniform"}}}, "0.5 to 8 is no range for int_"),
        (
            {"parameters": {"x": {"min": 1, "max": 1000, "distribution": "log_uniform"}}},
            "x: .* exponents of e, and 1000",
        ),
        ({"parameters": {"x": {"min": 0, "max": 1.7e308, "q": 1e-9, "distribution": "q_uniform"}}}, "q is 1e-09, too"),
        ({"parameters": {"x": {"min": -1.7e308, "max": 1.7e308}}}, "parameter x: .* is no range for uniform"),
        ({"parameters": {"x": {1: 1, "a": 1}}}, "parameter x has 1, which"),
        ({"parameters": {"x": {"values": [1], "probabilities": [1]}}}, "parameter x has 'probabilities'"),
        ({"early_terminate": {"type": "median"}}, "early_terminate is"),
        ({"early_terminate": {"type": "hyperband"}}, "needs min_iter, or max_iter and s"),
        (
            {"early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 1}},
            "eta is 1, must be a whole number of at least 2",
        ),
        ({"early_terminate": {"type": "hyperband", "max_iter": 27}}, "needs min_iter, or max_iter and s"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 3, "s": 2}}, "needs min_iter, or max_iter and s"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 3, "strict": True}}, "early_terminate has 'strict'"),
        (
            {"early_terminate": {"type": "hyperband", "min_iter": 3, "max_iter": 2}},
            "max_iter is 2, less than min_iter, 3",
        ),
        ({"command": ["${what}"]}, r"command holds \$\{what\}"),
        ({"command": ["x", "${args"]}, r"command holds \$\{args; supported"),
        ({"command": ["x", "${args!"]}, r"command holds \$\{args!; supported"),
        ({"command": ["x", "--data=${envvar:DATA}"]}, r"command holds --data=\$\{envvar:DATA\}; supported"),
        ({"command": ["x", None]}, "command holds None, which is no word"),
        ({"command": ["x", {"--lr": 1}]}, "command holds {'--lr': 1}, which is no word"),
        ({"command": None}, r"command holds \$\{program\}, and no program"),
    ],
)
def test_mistakes_are_named(read, changes, message):
    with pytest.raises(SweepError, match=message) as error:
        read(**changes)
    assert "some.yaml: " in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("command", ["x fit ${args}", "", {"x": 1}, 3, False, []])
def test_a_command_is_a_list(read, command):
    with pytest.raises(SweepError, match=f"command is {re.escape(repr(command))}, must be a list of words, like"):
        read(command=command)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, False, True, None, "1e-4", [1], {}, 10**400])
@pytest.mark.parametrize("key", ["min", "max", "q"])
def test_bounds_are_finite_numbers(read, key, value):
    given = {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.5, key: value}
    with pytest.raises(SweepError, match="parameter x.* must be a number" if key == "q" else "parameter x .* finite"):
        read(parameters={"x": given})


@pytest.mark.parametrize("kind", [None, 3, True, [1], {"a": 1}, "beta", "categorical"])
def test_distributions_are_those_of_the_format(read, kind):
    with pytest.raises(SweepError, match=re.escape(f"parameter x: distribution {kind} does not run without a server")):
        read(parameters={"x": {"min": 0.1, "max": 1, "distribution": kind}})


@pytest.mark.parametrize("kind", [None, 3, [1], "log_uniform_values", "uniform", "constant"])
def test_values_have_no_distribution_of_a_range(read, kind):
    with pytest.raises(SweepError, match=f"parameter x: distribution is {re.escape(repr(kind))} beside its values"):
        read(parameters={"x": {"values": [1, 2], "distribution": kind}})


@pytest.mark.parametrize("value", [math.nan, math.inf, [1, -math.inf], {"a": math.nan}, date(2026, 1, 1), b"a", {1}])
def test_values_are_those_of_json(read, value):
    with pytest.raises(SweepError, match=r"parameter x: .* is no value of JSON; put it in quotes"):
        read(parameters={"x": {"values": [1, value]}})


@pytest.mark.parametrize("values", [[1, True], [0, 2, False], [1, 1.0], [[1, 2], "[1, 2]"]])
def test_values_are_such_as_a_study_can_tell_apart(read, values):
    with pytest.raises(SweepError, match=r"parameter x: a study cannot tell .* from .*; leave one of them out"):
        read(parameters={"x": {"values": values}})


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, True, "ten", "1e3", [3], math.nan])
@pytest.mark.parametrize("key", ["run_cap", "min_iter", "max_iter", "s", "eta"])
def test_counts_are_whole_numbers(read, key, value):
    stopping = {"type": "hyperband", "max_iter": 27, "s": 2}
    with pytest.raises(SweepError, match=f"{key} is {re.escape(repr(value))}, must be a whole number of at least"):
        read(**({key: value} if key == "run_cap" else {"early_terminate": stopping | {key: value}}))


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(SweepError, match=r"no such sweep: .*none\.yaml"):
        read_sweep(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(SweepError, match=r"bad\.yaml is not YAML"):
        read_sweep(tmp_path / "bad.yaml")
    for number, text in enumerate(["a: 2026-13-45", "[" * 5000, "a: " + "1" * 5000]):
        (tmp_path / f"bad{number}.yaml").write_text(text)
        with pytest.raises(SweepError, match=rf"bad{number}\.yaml is not YAML: [^\n]*$"):
            read_sweep(tmp_path / f"bad{number}.yaml")
    (tmp_path / "keys.yaml").write_text("{x: 1, 3: 1}")
    with pytest.raises(SweepError, match=r"keys\.yaml: unknown key 3"):
        read_sweep(tmp_path / "keys.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(SweepError, match="not a mapping"):
        read_sweep(tmp_path / "list.yaml")


def test_flags_come_in_the_order_of_the_file(tmp_path):
    parameters = "{config: {value: a.yaml}, b: {values: [1, 2]}, a: {value: 3}}"
    metric = "{name: auc, goal: maximize}"
    (tmp_path / "some.yaml").write_text(
        f"method: grid\nmetric: {metric}\nparameters: {parameters}\ncommand: [x, '${{args}}']"
    )
    sweep = read_sweep(tmp_path / "some.yaml")
    assert sweep.command_line(sweep.grid_point(1)) == ["x", "--config=a.yaml", "--b=2", "--a=3"]
    assert sweep.command_line({"a": 1, "b": 2, "config": "c"}) == ["x", "--config=c", "--b=2", "--a=1"]


def test_the_command_line_is_that_of_the_agent(read):
    values = {"model.lr": 0.5, "flag": True, "none": None, "betas": "[0.9, 0.99]"}
    sweep = read(
        command=["${env}", "A=1", "${interpreter}", "${program}", "${args}", "${args_no_hyphens}", "${args_json}"],
        program="p.py",
    )
    flags = ["--model.lr=0.5", "--flag=True", "--none=null", "--betas=[0.9, 0.99]"]
    as_json = '{"model.lr": 0.5, "flag": true, "none": null, "betas": "[0.9, 0.99]"}'
    bare = [flag[2:] for flag in flags]
    assert sweep.command_line(values, ["--more"]) == [
        "/usr/bin/env",
        "A=1",
        sys.executable,
        "p.py",
        *flags,
        *bare,
        as_json,
        "--more",
    ]


def test_json_has_lists_and_dicts_as_the_file_has_them(read):
    """As `wandb agent` does. A text is a text, though it may look like a list."""
    parameters = {
        "a": {"values": [[1, 2], "[3, 4]", {"b": [None, "x"]}, None]},
        "lr": {"min": 0.1, "max": 1.0},
        "c": {"value": "[1, 2]"},
    }
    sweep = read(parameters=parameters, command=["${args_json}", "${args}"])
    for given, held in zip(parameters["a"]["values"], sweep.parameters["a"].values, strict=True):
        as_json, argument, *_ = sweep.command_line({"a": held, "lr": 0.5, "c": "[1, 2]"})
        assert json.loads(as_json) == {"a": given, "lr": 0.5, "c": "[1, 2]"}
        assert argument == f"--a={given if isinstance(given, str) else json.dumps(given)}"


@pytest.mark.parametrize(("goal", "expected"), [("maximize", 0.9), ("minimize", 0.5)])
def test_the_best_is_finite(goal, expected):
    for values in permutations([math.nan, 0.5, math.inf, 0.9, -math.inf]):
        assert best_of(values, goal, lambda value: value) == expected
    assert best_of([math.nan], goal, lambda value: value) is None


def test_a_grid_needs_finitely_many_values(read):
    parameters = {
        "a": {"values": [1, 2]},
        "b": {"min": 1, "max": 3},
        "c": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.5},
    }
    grid = read(method="grid", parameters=parameters)
    assert grid.grid_size() == 2 * 3 * 3
    points = [tuple(grid.grid_point(number)[key] for key in "abc") for number in range(18)]
    assert points == list(product([1, 2], [1, 2, 3], [0, 0.5, 1]))
    with pytest.raises(SweepError, match="parameter lr is continuous, which a grid cannot cover"):
        read(method="grid").grid_size()
    for much in (
        {"min": 1, "max": 10_001},
        {"min": 1, "max": 10**300},
        {"distribution": "q_uniform", "min": 0, "max": 1, "q": 1e-9},
    ):
        with pytest.raises(SweepError, match=r"parameter b has 1[0-9e+]* values, more than the 10000"):
            read(method="grid", parameters={"b": much}).grid_size()


def test_stepped_integers_reach_a_trial_as_integers(read):
    steps = {"b": {"distribution": "q_uniform", "min": 16, "max": 64, "q": 16}}
    sweep = read(method="grid", parameters=steps)
    assert [sweep.grid_point(number) for number in range(sweep.grid_size())] == [{"b": b} for b in (16, 32, 48, 64)]
