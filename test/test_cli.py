# SPDX-License-Identifier: Apache-2.0
"""The command line: one clear line and status 2 for bad input, help for everything."""

from pathlib import Path

import pytest

from op3_fall.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--falls", "-2"],
         "number of falls is -2; allowed is 2 or more; give --falls 10 for example"),
        (["--falls", "3"],
         "number of falls is 3; allowed are even numbers, because falls come in pairs; "
         "give --falls 4"),
        (["--compliance.stiffness-scale", "0"],
         "stiffness scale is 0; allowed is from 0.05 to 1; "
         "choose a value of stiffness scale in that range"),
        (["--compliance.damping-scale", "nan"],
         "damping scale is nan; allowed is from 1 to 4; "
         "choose a value of damping scale in that range"),
        (["--push.force-n", "-1"],
         "push force is -1 N; allowed is from 0 to 1000 N; "
         "choose a value of push force in that range"),
        (["--model", "nowhere.xml"],
         "model file 'nowhere.xml' does not exist; allowed is an MJCF file with the OP3's joint "
         "names, or 'menagerie'; check the path"),
        (["--voltage-v", "5"],
         "voltage is 5.0 V; allowed is 11.1 to 14.8 V; give the voltage measured under load"),
        (["--physics-step-s", "0.003"],
         "physics step is 3 ms; allowed are steps that divide the driver cycle of 8 ms; "
         "choose for example 0.5, 1, 2 or 4 ms"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["experiment", "--out", str(out), *arguments]) == 2
    assert capsys.readouterr().err == f"op3-fall: {message}\n"
    assert not list(tmp_path.rglob("*.*"))


def test_an_output_folder_that_cannot_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["experiment", "--falls", "2", "--out", str(tmp_path / "file")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"op3-fall: output folder '{tmp_path / 'file'}' cannot be written (")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ["experiment"],
        ["sweep"],
        ["convergence"],
        ["search"],
        ["evaluate"],
        ["play"],
        ["bench", "sim"],
        ["bench", "policy"],
    ],
    ids=" ".join,
)
def test_every_option_is_documented(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    options = [line for line in text.splitlines() if line.strip(" │").startswith("--")]
    assert len(options) >= 2
    assert "(default" in text


@pytest.mark.parametrize("arguments", [["nonsense"], ["experiment", "--falls", "many"], ["bench"]])
def test_words_that_are_no_command_or_value(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
