# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""Writes the manual page clipbridge(1), in mdoc, from what the program says of itself.

manual.py PROGRAM DATE: the commands come from its --experimental-dump-help, the settings from `config --example`."""

import json
import re
import subprocess
import sys


def run(*arguments):
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout


def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def paragraphs(text):
    """A sentence a line, as mdoc wants it; an empty line begins a paragraph."""
    for line in text.splitlines():
        if line.strip():
            yield from map(escaped, re.split(r"(?<=[.:]) (?=[A-Z-])", line.strip()))
        else:
            yield ".Pp"


def quoted(text):
    """One argument of a macro, whatever is in it."""
    return '"' + escaped(text).replace('"', "\\(dq") + '"'


def settings(example):
    """Name, lines of explanation and default of each setting."""
    for block in example.strip().split("\n\n")[1:]:
        *comments, last = block.splitlines()
        name, default = last.removeprefix("#").split("=", 1)
        lines = [line.removeprefix("# ") for line in comments]
        lines[0] = lines[0].removeprefix(f"{name}: ")
        lines[0] = lines[0][0].upper() + lines[0][1:]
        yield name, lines, default


def flag_of(setting):
    return setting.removeprefix("CLIPBRIDGE_").lower().replace("_", "-")


def option(argument):
    """An option's or argument's heading."""
    names = [f"{'--' if name['kind'] == 'long' else '-'}{name['name']}" for name in argument.get("names", [])]
    value = argument.get("valueName", "value")
    if argument["kind"] == "positional":
        return f".It Ar {quoted(value)}"
    heading = ".It " + " , ".join(f"Fl {quoted(name[1:])}" for name in names)
    return heading if argument["kind"] == "flag" else f"{heading} Ar {quoted(value)}"


def command_lines(command, path, setting_flags):
    name = " ".join([*path, command["commandName"]])
    below = [child for child in command.get("subcommands", []) if child["commandName"] != "help"]
    if below:
        for child in below:
            yield from command_lines(child, [*path, command["commandName"]], setting_flags)
        return
    yield f".Ss {escaped(name)}"
    yield from paragraphs(command.get("abstract", ""))
    yield from paragraphs(command.get("discussion", ""))
    shown, has_settings = [], False
    for argument in command.get("arguments", []):
        long = {each["name"] for each in argument.get("names", [])}
        if not argument.get("shouldDisplay", True) or long & {"help", "version"}:
            continue
        if long & setting_flags and name not in ("sandbox", "demo"):
            has_settings = True
            continue
        shown.append(argument)
    if shown:
        yield ".Bl -tag -width Ds"
        for argument in shown:
            yield option(argument)
            yield from paragraphs(argument.get("abstract", ""))
        yield ".El"
    if has_settings:
        yield ".Pp"
        yield "It takes settings as flags too; see"
        yield ".Sx SETTINGS ."


def page(program, date):
    root = json.loads(run(program, "--experimental-dump-help"))["command"]
    table = list(settings(run(program, "config", "--example")))
    setting_flags = {flag_of(name) for name, _, _ in table}
    yield '.\\" Made by deploy/package/manual.py.'
    yield f".Dd {date}"
    yield ".Dt CLIPBRIDGE 1"
    yield f".Os {quoted('clipbridge ' + run(program, '--version').strip())}"
    yield ".Sh NAME"
    yield ".Nm clipbridge"
    yield f".Nd {escaped(root['abstract'][0].lower() + root['abstract'][1:].rstrip('.'))}"
    yield ".Sh SYNOPSIS"
    yield ".Nm"
    yield ".Ar command"
    yield ".Op Ar options"
    yield ".Sh DESCRIPTION"
    yield ".Nm"
    yield "takes the webhooks of a Cloudflare Stream account, has an MP4 made of each video, and brings it into an R2"
    yield "bucket, with a ledger of all that happened on the way."
    yield "Every command prints its own help with"
    yield ".Fl Fl help ."
    yield ".Sh COMMANDS"
    for command in root["subcommands"]:
        if command["commandName"] != "help":
            yield from command_lines(command, [], setting_flags)
    yield ".Sh SETTINGS"
    yield "A flag goes before the environment, that before the file that"
    yield ".Fl Fl config"
    yield "names, that before the default."
    yield "A flag is the name in lower case with hyphens, without"
    yield ".Ev CLIPBRIDGE_ ;"
    yield "secrets have none."
    yield ".Bl -tag -width Ds"
    for name, lines, default in table:
        yield f".It Ev {name}"
        yield from map(escaped, lines)
        if default:
            yield f"Default: {escaped(default)}"
    yield ".El"
    yield ".Sh FILES"
    yield ".Bl -tag -width Ds"
    yield ".It Pa /etc/clipbridge/clipbridge.env"
    yield "Settings of the system's service."
    yield ".It Pa /var/lib/clipbridge"
    yield "Its store and spool."
    yield ".El"
    yield ".Sh EXIT STATUS"
    yield ".Bl -tag -width Ds"
    for code, meaning in re.findall(r"(\d+) ([^,.]+)", root["discussion"]):
        yield f".It {code}"
        yield escaped(meaning[0].upper() + meaning[1:] + ".")
    yield ".El"
    yield ".Sh EXAMPLES"
    yield "As the service's own user, whether all that it needs can be reached:"
    yield ".Pp"
    yield ".Dl runuser \\-u clipbridge \\-\\- clipbridge check \\-\\-config /etc/clipbridge/clipbridge.env"
    yield ".Pp"
    yield "The whole way without an account:"
    yield ".Pp"
    yield ".Dl clipbridge demo"
    yield ".Sh SEE ALSO"
    yield ".Xr systemd.exec 5 ,"
    yield ".Xr systemd.service 5"


if __name__ == "__main__":
    sys.stdout.write("\n".join(page(sys.argv[1], sys.argv[2])) + "\n")
