"""Docker's spellings of every option of every command, written anew in Typer's."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from docs import application
from docs.application import options_of, spellings_of
from macvfast.cli.app import application as whole
from macvfast.cli.line import Line

COMMANDS = application.commands()
ALL = [(path, option) for path, command in COMMANDS.items() for option in options_of(command)]
VALUED = [(path, one) for path, one in ALL if not one.is_flag and not one.metavar.startswith("[=")]
FLAGS = [(path, one) for path, one in ALL if one.is_flag]


def read(words: list[str]) -> Line:
    line = Line(whole())
    line.find(words)
    line.read()
    return line


def name(one: Any) -> str:
    return str(one if isinstance(one, str) else one.name)


@pytest.mark.parametrize(("path", "option"), VALUED, ids=name)
@pytest.mark.parametrize("value", ["K=V", "=K", "", "x y", "a,b"])
def test_a_value_is_the_same_in_each_spelling_that_pflag_takes(path: str, option: Any, value: str) -> None:
    expected = [*path.split(), next(one for one in option.opts if one.startswith("--")), value, "--"]
    for spelling in option.opts:
        words = [[spelling, value], [f"{spelling}={value}"]]
        # -oVALUE; but `-o=` says that the value follows the sign.
        if not spelling.startswith("--") and value and not value.startswith("="):
            words.append([f"{spelling}{value}"])
        for typed in words:
            assert read([*path.split(), *typed]).words() == expected
            assert read([*path.split(), *typed]).spelled == {option.name: spelling}


@pytest.mark.parametrize(("path", "option"), FLAGS, ids=name)
def test_a_flag_is_the_same_in_each_spelling_that_pflag_takes(path: str, option: Any) -> None:
    # `network inspect` has a --verbose, which is the application's all the same.
    for spelling in [one for one in spellings_of(option) if one != "--verbose"]:
        no = spelling in option.secondary_opts
        for said in ("", "=1", "=t", "=T", "=true", "=TRUE", "=True", "=0", "=f", "=F", "=false", "=FALSE", "=False"):
            on = (said.lower() not in ("=0", "=f", "=false")) != no
            spellings = option.opts if on else option.secondary_opts
            expected = [one for one in spellings if one.startswith("--")][:1]
            assert read([*path.split(), f"{spelling}{said}"]).words() == [*path.split(), *expected, "--"]


@hypothesis.given(st.permutations(["-d", "-i", "-t", "--rm", "--net=lab", "-eA=b", "--verbose", "--state-dir=/s"]))
def test_the_order_of_different_options_does_not_matter(options: list[str]) -> None:
    line = read(["run", *options, "sh", "-c", "--rm"])
    words = line.words()
    assert words[:4] == ["--state-dir", "/s", "--verbose", "run"]
    assert sorted(words[4 : words.index("--")]) == sorted(
        ["--detach", "--interactive", "--tty", "--rm", "--net", "lab", "--env", "A=b"]
    )
    assert line.arguments == ["sh", "-c", "--rm"]


@hypothesis.given(st.lists(st.sampled_from("dit"), min_size=1, max_size=5))
def test_short_flags_in_one_word_are_the_same_as_apart(letters: list[str]) -> None:
    together = read(["run", f"-{''.join(letters)}", "sh"]).words()
    assert together == read(["run", *(f"-{one}" for one in letters), "sh"]).words()


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["run", "sh", "-d"], ["sh", "-d"]),
        (["run", "--", "-d"], ["-d"]),
        (["run", "--", "sh", "--", "-d"], ["sh", "--", "-d"]),
        (["exec", "web", "sh", "--", "-d"], ["web", "sh", "--", "-d"]),
        (["exec", "web", "--", "sh", "-d"], ["web", "sh", "-d"]),
        (["exec", "--", "web", "sh", "-d"], ["web", "sh", "-d"]),
        (["rm", "a", "-f", "b"], ["a", "b"]),
        (["rm", "a", "--", "-f"], ["a", "-f"]),
    ],
)
def test_what_belongs_to_a_command_that_is_run_is_left_as_it_is(words: list[str], arguments: list[str]) -> None:
    assert read(words).arguments == arguments
