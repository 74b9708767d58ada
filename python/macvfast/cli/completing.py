"""What a shell completes: commands, options, and the values that their parameters offer.

The scripts of `macvfast completion` ask for it with `macvfast __complete -- WORD... LAST`; LAST may be empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from macvfast.cli.call import Call, Session
from macvfast.cli.commands import Group, command
from macvfast.cli.parameters import argument, offering
from macvfast.cli.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from macvfast.cli.line import Line


BASH = r"""# bash completion of macvfast: eval "$(macvfast completion bash)"
_macvfast() {
    local -a words candidates
    local word cut known
    # Not COMP_WORDS: there, `parent=eth0` is three words.
    read -ra words <<< "${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]}-1]}
    mapfile -t candidates < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
    # The cursor may stand within bash's own word.
    known=${COMP_WORDS[COMP_CWORD]#=}
    until [[ $word == *"$known" ]]; do known=${known%?}; done
    cut=${word%"$known"}
    COMPREPLY=("${candidates[@]#"$cut"}")
    [[ ${#candidates[@]} == 1 && ${candidates[0]} == *= ]] && compopt -o nospace
    return 0
}
complete -o bashdefault -o default -F _macvfast macvfast
"""

ZSH = r"""#compdef macvfast
# zsh completion of macvfast: source <(macvfast completion zsh), or put it into $fpath as _macvfast
_macvfast() {
    local -a candidates finished open
    candidates=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    finished=("${(@)candidates:#*=}")
    open=("${(@M)candidates:#*=}")
    (( ${#finished[1]} )) && compadd -- "${(@)finished}"
    (( ${#open[1]} )) && compadd -S '' -- "${(@)open}"
    (( ${#candidates[1]} )) || _files
}
if [[ $funcstack[1] == _macvfast ]]; then _macvfast "$@"; else compdef _macvfast macvfast; fi
"""

FISH = r"""# fish completion of macvfast: macvfast completion fish | source
complete -c macvfast -f -a '(macvfast __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@command(
    "completion",
    changes=False,
    details="""\
It completes commands, options, and the names of networks, sandboxes and parents. The package installs it where the
three shells look for it; a shell does not look into a virtual environment.""",
    example="macvfast completion bash",
)
def completion(
    call: Call,
    shell: Annotated[str, argument("SHELL", "bash, zsh or fish.", autocompletion=offering(*SCRIPTS))],
) -> int:
    """Print a shell's completion script, for bash, zsh or fish."""
    if shell not in SCRIPTS:
        why = f"there is one for {', '.join(SCRIPTS)}"
        raise call.wrong(f"there is no completion for `{shell}`", why, "macvfast completion bash")
    call.out.text(SCRIPTS[shell])
    return 0


def complete(line: Line, words: Sequence[str], session: Session) -> list[str]:
    """What the last word may become. Without a state that can be read, there are no names."""
    *before, last = words or [""]
    try:
        line.find(before)
        line.read()
    except Usage:
        if line.pending is None:
            return []
    return sorted({one for one in _offered(line, last, _context(line, session)) if one.startswith(last)})


def _context(line: Line, session: Session) -> Any:
    """The Typer context of the line's command with the parameters that are typed so far."""
    above = line.root.make_context("macvfast", line.common_words(), obj=session, resilient_parsing=True)
    session.state_dir = above.params.get("state_dir")
    if isinstance(line.command, Group):
        return above
    return line.command.make_context(line.command.name, line.own_words(), parent=above, resilient_parsing=True)


def _offered(line: Line, last: str, context: Any) -> Iterable[str]:
    """What may stand here."""
    if line.pending is not None:
        return _values(line.pending, context, last)
    if last.startswith("-") and not line.ended:
        name, sign, value = _parts(last)
        _, option = line.spellings.get(name) or (None, None)
        if not sign and not value:
            return list(line.spellings)
        return [] if option is None else [f"{name}{sign}{one}" for one in _values(option, context, value)]
    if isinstance(line.command, Group):
        found: list[str] = line.command.list_commands(line.context)
        return found
    known = [one for one in line.command.params if one.param_type_name == "argument"]
    position = len(line.arguments)
    if not known or (position >= len(known) and known[-1].nargs != -1):
        return []
    return _values(known[min(position, len(known) - 1)], context, last)


def _parts(word: str) -> tuple[str, str, str]:
    """An option, what joins it with its value, and the value: of `--opt=parent`, `-o=parent` or `-oparent`."""
    if word.startswith("--"):
        return word.partition("=")
    value = word[2:].removeprefix("=")
    return word[:2], "=" if word[2:3] == "=" else "", value


def _values(parameter: Any, context: Any, typed: str) -> list[str]:
    return [item.value for item in parameter.shell_complete(context, typed)]
