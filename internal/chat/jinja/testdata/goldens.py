"""Renders templates.txt with jinja2 as transformers sets it up, into templates.golden.json.

    pip install jinja2==3.1.6 && python3 goldens.py
"""

import datetime
import json
import pathlib

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)


class Raised(Exception):
    pass


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_run"), [], [], body).set_lineno(line)

    def _run(self, caller):
        return caller()


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda format: NOW.strftime(format)
    return env


def render(env, source, variables):
    try:
        return {"output": env.from_string(source).render(**variables)}
    except Raised as e:
        return {"raises": str(e)}
    except Exception as e:
        return {"error": f"{type(e).__name__}: {e}"}


def main():
    env = environment()
    variables = json.loads((HERE / "variables.json").read_text())
    sources = (HERE / "templates.txt").read_bytes().decode().split("\n----\n")
    results = [render(env, s, variables) for s in sources]
    text = "[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in results) + "\n]\n"
    (HERE / "templates.golden.json").write_text(text)


main()
