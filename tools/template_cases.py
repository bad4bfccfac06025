"""Random templates and data for make_template_goldens.py: a grammar of the expressions and statements that Jinja has."""

import random

STRINGS = [
    "", "a", "abc", "Hello World", " \t x y\n", "a,b,,c", "ÀÉß ñandú", "中文字符", "🙂🙃 x", "it's", 'say "hi"',
    "both '\"", "line1\nline2\r\nline3\u2028l4", "<b>&amp;</b>", "12", " -7 ", "3.5e2", "0x1f", "ΣΑΣ ς", "İstanbul ǅ ŉ",
    "x\\y\x00z\x7f\u200b", "%s and %d", "{0} {name!r:>5}", "true", "</think>\n\nfoo</think>bar", "aaa",
    "TITLE case-word (foo) {bar}", "٣", "ﬁﬂ", "a\u0301b", "\u00a0 nb\u00a0", "100%", "_x", "1_000", "inf", "nan",
]
NUMBERS = [
    0, 1, -1, 2, 3, 5, 7, 10, -3, 100, 255, -8, 1.5, -2.5, 0.1, 1e16, 1e-5, 123456789.125, 2**53, 2**63, 2**64 + 1,
    -(2**63), 10**25, 1e300, 0.0, 2.675, 1e22, -0.0,
]
NAMES = ["s", "t", "n", "m", "xs", "ss", "ns_", "d", "os", "v", "z", "b", "undef"]

# Filters with the kinds of their arguments: "?" optional, "*" any number.
FILTERS = [
    ("abs", []), ("attr", ["attribute_name"]), ("batch", ["int?", "value?"]), ("capitalize", []), ("center", ["int?"]),
    ("count", []), ("d", ["value?", "bool?"]), ("default", ["value?", "bool?"]), ("dictsort", ["bool?", "by?", "bool?"]),
    ("e", []), ("escape", []), ("filesizeformat", ["bool?"]), ("first", []), ("float", ["value?"]), ("forceescape", []),
    ("format", ["value*"]), ("groupby", ["path", "value?"]), ("indent", ["int?", "bool?", "bool?"]),
    ("int", ["value?", "base?"]), ("join", ["text?", "path?"]), ("last", []), ("length", []), ("list", []), ("lower", []),
    ("items", []), ("map", ["mapped"]), ("max", ["bool?", "path?"]), ("min", ["bool?", "path?"]), ("reject", ["test?"]),
    ("rejectattr", ["path", "test?"]), ("replace", ["text", "text", "int?"]), ("reverse", []),
    ("round", ["signed?", "method?"]), ("safe", []), ("select", ["test?"]), ("selectattr", ["path", "test?"]),
    ("slice", ["int", "value?"]), ("sort", ["bool?", "bool?", "path?"]), ("string", []), ("striptags", []),
    ("sum", ["path?", "value?"]), ("title", []), ("tojson", ["json"]), ("trim", ["text?"]),
    ("truncate", ["int?", "bool?", "text?", "int?"]), ("unique", ["bool?", "path?"]), ("upper", []), ("urlencode", []),
    ("wordcount", []), ("xmlattr", ["bool?"]), ("pprint", []),
]
LAZY = {"batch", "items", "map", "reject", "rejectattr", "select", "selectattr", "slice", "unique", "reverse"}
CONSUMERS = ["list", "list", 'join(",")', "length", "first", "tojson"]
# Tests with what they take: nothing, a value, or a singleton.
TESTS = [
    ("odd", ""), ("even", ""), ("divisibleby", "value"), ("defined", ""), ("undefined", ""), ("none", ""),
    ("boolean", ""), ("false", ""), ("true", ""), ("integer", ""), ("float", ""), ("lower", ""), ("upper", ""),
    ("string", ""), ("mapping", ""), ("number", ""), ("sequence", ""), ("iterable", ""), ("callable", ""),
    ("sameas", "singleton"), ("escaped", ""), ("in", "value"), ("eq", "value"), ("equalto", "value"), ("ne", "value"),
    ("gt", "value"), ("greaterthan", "value"), ("ge", "value"), ("lt", "value"), ("lessthan", "value"), ("le", "value"),
    ("filter", ""), ("test", ""),
]
# Methods; @s stands for a text, @t for texts, @i for a width, @k for an index, @x for anything.
STRING_METHODS = [
    "capitalize()", "casefold()", "center(@i)", 'center(@i,"*")', "count(@s)", "count(@s,@k,@k)", "endswith(@s)",
    "endswith((@s,@s))", "startswith(@s)", 'startswith((@s,"a"),@k)', "startswith(@s,@k,@k)", "expandtabs()",
    "expandtabs(@i)", "find(@s)", "find(@s,@k)", "find(@s,@k,@k)", "rfind(@s)", "rfind(@s,@k,@k)", "index(@s)",
    "rindex(@s)", "isalnum()", "isalpha()", "isascii()", "isdecimal()", "isdigit()", "isidentifier()", "islower()",
    "isnumeric()", "isprintable()", "isspace()", "istitle()", "isupper()", "join(@t)", "join(@x)", "ljust(@i)",
    'rjust(@i,"-")', "lower()", "lstrip()", "lstrip(@s)", "partition(@s)", "rpartition(@s)", "removeprefix(@s)",
    "removesuffix(@s)", "replace(@s,@s)", "replace(@s,@s,@k)", "rsplit()", "rsplit(@s)", "rsplit(none,@k)",
    "rsplit(@s,@k)", "rstrip()", "rstrip(@s)", "split()", "split(@s)", "split(none,@k)", "split(@s,@k)",
    "split(sep=@s,maxsplit=@k)", "splitlines()", "splitlines(true)", "splitlines(keepends=true)", "strip()",
    "strip(@s)", "swapcase()", "title()", "upper()", "zfill(@i)", "format(@x)", "format(@x,name=@x)", "format(@x,@x)",
    "foo", "foo()",
]
DICT_METHODS = [
    "items()", "keys()", "values()", 'get("a")', 'get("zz")', "get(@s,@x)", 'get("a",1)', "copy()", "update({})",
    'pop("a")', "a", "b.c", "items", "name", "nope", "nope.x", "__class__",
]
LIST_METHODS = ["index(@x)", "count(@x)", "append(1)", "copy()", "pop()", "0", "1", "insert", "nope", "index(@x,@k)"]
SPECS = ["{:>8}", "{:*^9}", "{:05d}", "{:+.2f}", "{:,}", "{:#x}", "{:.3}", "{:e}", "{:%}", "{!r:<12}", "{:_b}", "{:08.3f}", "{:g}", "{:<{}}"]
PERCENTS = ["%5d|", "%-8s|", "%05.1f", "%x", "%+d", "%r", "%.2e", "%g", "%c", "%%%s", "%o", "%#X", "%(a)s", "%*d"]


class Expressions:
    """Random expressions over the variables that environment() makes."""

    def __init__(self, rng: random.Random):
        self.rng = rng

    def pick(self, options):
        return self.rng.choice(options)

    def environment(self):
        rng = self.rng

        def leaf():
            kind = rng.random()
            if kind < 0.5:
                return self.pick(STRINGS)
            if kind < 0.8:
                return self.pick(NUMBERS)
            return self.pick([True, False]) if kind < 0.9 else None

        def value(depth):
            kind = rng.random()
            if depth <= 0 or kind < 0.45:
                return leaf()
            if kind < 0.75:
                return [value(depth - 1) for _ in range(rng.randint(0, 4))]
            keys = ["a", "b", "c", "items", "name", "x y", "1", "B", "get"]
            return {self.pick(keys): value(depth - 1) for _ in range(rng.randint(0, 4))}

        def record():
            return {"a": self.pick(NUMBERS[:9]), "b": self.pick(STRINGS), "c": {"d": self.pick(STRINGS)}}

        return {
            "s": self.pick(STRINGS), "t": self.pick(STRINGS), "n": self.pick(NUMBERS), "m": self.pick(NUMBERS),
            "xs": [leaf() for _ in range(rng.randint(0, 5))],
            "ss": [self.pick(STRINGS) for _ in range(rng.randint(0, 5))],
            "ns_": [self.pick(NUMBERS) for _ in range(rng.randint(0, 5))],
            "d": {self.pick(["a", "b", "c", "items", "name", "Z", "k1"]): value(1) for _ in range(rng.randint(0, 5))},
            "os": [record() if rng.random() < 0.9 else leaf() for _ in range(rng.randint(0, 5))],
            "v": value(3), "z": None, "b": self.pick([True, False]),
        }

    def text_literal(self, text=None):
        escapes = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\x00": "\\x00"}
        text = self.pick(STRINGS) if text is None else text
        return "'" + "".join(escapes.get(c, c) for c in text) + "'"

    def number_literal(self):
        number = self.pick(NUMBERS)
        return f"({number!r})" if number < 0 else repr(number)

    def fill_in(self, pattern, depth):
        out, i = "", 0
        while i < len(pattern):
            mark = pattern[i : i + 2]
            if mark == "@t":
                out += self.pick(["ss", "ss[1:]", '["a","b"]', '("x",)', "d.keys()", "s", "xs"])
            elif mark == "@s":
                out += self.text(depth)
            elif mark == "@i":
                out += str(self.rng.randint(-2, 14))
            elif mark == "@k":
                out += self.pick(["0", "1", "2", "-1", "-2", "3", "10", "none", "-100"])
            elif mark == "@x":
                out += self.expression(depth)
            else:
                out += pattern[i]
                i -= 1
            i += 2
        return out

    def argument(self, kind, depth):
        fixed = {
            "attribute_name": ["'a'", "'items'", "'upper'", "'name'", "'append'"],
            "bool": ["true", "false", "1", "0"],
            "by": ["'key'", "'value'", "'x'"],
            "base": ["10", "16", "2", "8", "0", "36", "1"],
            "path": ["'a'", "'b'", "'c.d'", "0", "'0'", "'nope'", "'a,b'", "'c'"],
            "method": ["'common'", "'ceil'", "'floor'", "'x'"],
        }
        if kind in fixed:
            return self.pick(fixed[kind])
        if kind == "text":
            return self.text(depth)
        if kind == "int":
            return str(self.rng.randint(-1, 6))
        if kind == "signed":
            return str(self.rng.randint(-3, 6))
        if kind == "test":
            name, takes = self.pick(TESTS)
            return f"'{name}'" + (", " + self.expression(depth) if takes else "")
        if kind == "mapped":
            if self.rng.random() < 0.3:
                default = ", default=" + self.expression(depth) if self.rng.random() < 0.4 else ""
                return "attribute=" + self.argument("path", depth) + default
            return "'" + self.pick([name for name, args in FILTERS
                               if name not in LAZY and all(a[-1] in "?*" for a in args)]) + "'"
        return self.expression(depth)

    def filter(self, depth):
        name, kinds = self.pick(FILTERS)
        arguments = []
        for kind in kinds:
            if kind == "json":
                options = ["indent=2", "indent=0", 'indent="--"', "sort_keys=true", "ensure_ascii=true",
                           'separators=(",",":")', 'separators=[";","="]']
                arguments += self.rng.sample(options, self.pick([0, 0, 1, 2]))
                if sum(a.startswith("indent") or a.startswith("separators") for a in arguments) > 1:
                    arguments = arguments[:1]
            elif kind.endswith("?"):
                if self.rng.random() > 0.45:
                    break
                arguments.append(self.argument(kind[:-1], depth))
            elif kind.endswith("*"):
                arguments += [self.argument(kind[:-1], depth) for _ in range(self.rng.randint(0, 2))]
            else:
                arguments.append(self.argument(kind, depth))
        out = name + ("(" + ", ".join(arguments) + ")" if arguments else "")
        return out + ("|" + self.pick(CONSUMERS) if name in LAZY else "")

    def text(self, depth):
        if depth <= 0 or self.rng.random() < 0.9:
            return self.pick(["s", "t", "ss[0]", self.text_literal(), self.text_literal()])
        return "(" + self.expression(depth - 1) + ")|string"

    def atom(self):
        kind = self.rng.random()
        if kind < 0.6:
            return self.pick(NAMES)
        if kind < 0.75:
            return self.text_literal()
        return self.number_literal() if kind < 0.92 else self.pick(["true", "false", "none", "[]", "{}", "()", "''"])

    def slice(self):
        bounds = ["", "", "0", "1", "2", "-1", "-2", "4", "-10", "10", "none", "n"]
        step = ":" + self.pick(["", "1", "2", "-1", "-2", "3", "0"]) if self.rng.random() < 0.5 else ""
        return self.pick(bounds) + ":" + self.pick(bounds) + step

    def expression(self, depth):
        if depth <= 0:
            return self.atom()
        pick, inner = self.pick, lambda: "(" + self.expression(depth - 1) + ")"
        makers = [
            (24, lambda: inner() + "|" + self.filter(depth - 1)),
            (11, lambda: "(" + self.text(depth - 1) + ")." + self.fill_in(pick(STRING_METHODS), depth - 1)),
            (4, lambda: pick(["d", "v", "os[0]", "os[0].c"]) + "." + self.fill_in(pick(DICT_METHODS), depth - 1)
             + pick(["", "", "|list", "|length"])),
            (3, lambda: pick(["xs", "ss", "ns_", "v", "[1,2,1]", "(1,2)"]) + "." + self.fill_in(pick(LIST_METHODS), depth - 1)),
            (6, lambda: pick(NAMES[:10]) + "[" + self.slice() + "]"),
            (5, lambda: inner() + "[" + self.expression(depth - 1) + "]"),
            (11, lambda: inner() + " " + pick(["+", "-", "*", "/", "//", "%", "~", "~", "+"]) + " " + inner()),
            (1, lambda: inner() + " ** " + pick(["0", "1", "2", "3", "-1", "0.5", "true"])),
            (6, lambda: inner() + "".join(
                " " + pick(["==", "!=", "<", ">", "<=", ">=", "in", "not in"]) + " " + inner()
                for _ in range(pick([1, 1, 1, 2])))),
            (5, lambda: inner() + pick([" and ", " or "]) + inner()),
            (3, lambda: pick(["not ", "-", "+"]) + inner()),
            (6, lambda: self.test(depth)),
            (4, lambda: "(" + self.expression(depth - 1) + " if " + self.expression(depth - 1)
             + (" else " + self.expression(depth - 1) if self.rng.random() < 0.7 else "") + ")"),
            (4, lambda: "[" + ", ".join(self.expression(depth - 1) for _ in range(self.rng.randint(0, 3))) + "]"),
            (3, lambda: "{" + ", ".join(pick(["'a'", "'b'", "1", "s", "none", "true", "1.0", "n"]) + ": "
                                        + self.expression(depth - 1) for _ in range(self.rng.randint(0, 3))) + "}"),
            (2, lambda: "(" + "".join(self.expression(depth - 1) + ", " for _ in range(self.rng.randint(0, 3))) + ")"),
            (4, lambda: self.text_literal(pick(SPECS)) + ".format(" + self.expression(depth - 1) + ", 7)"),
            (4, lambda: self.text_literal(pick(PERCENTS)) + " % " + pick(["", "(5, 6)", "d", "n", "s", "xs"])
             .replace("xs", "(xs, )") if self.rng.random() < 0.6 else self.text_literal(pick(PERCENTS)) + " % " + inner()),
            (3, lambda: self.global_call(depth)),
        ]
        weights, options = zip(*makers)
        return self.rng.choices(options, weights)[0]()

    def test(self, depth):
        name, takes = self.pick(TESTS)
        argument = {"": "", "singleton": "(" + self.pick(["none", "true", "false"]) + ")"}.get(takes)
        if argument is None:
            argument = "(" + self.expression(depth - 1) + ")"
        return "(" + self.expression(depth - 1) + ") is " + self.pick(["", "", "not "]) + name + argument

    def global_call(self, depth):
        low, high = self.rng.randint(-3, 3), self.rng.randint(-3, 9)
        return self.pick([
            f"range({high})", f"range({low},{high})", f"range({high},{low},{self.pick(['1', '2', '-1', '-2', '0'])})",
            "dict(a=" + self.expression(depth - 1) + ")", "dict(d, z=1)", 'dict([("k",' + self.expression(depth - 1) + ")])",
            'strftime_now("%Y-%m-%d %H:%M:%S %j %a %B %p %%")', "dict(xs)", "dict.fromkeys(ss,1)",
        ])


class Statements(Expressions):
    """Random templates: every statement, whitespace control, scoping."""

    def simple(self):
        if self.rng.random() < 0.55:
            return self.pick([
                "x", "y", "w", "s", "n", "ns.a", "ns.b", "xs", "d", "loop.index", "loop.first", "loop.last", "z", "m1(x)",
                "m2(y,b=x)", "m1()", "m2(1,2)", "m2(a=y)", "caller()", "caller(x)", "m1(*xs)", "m1(**d)", "kwargs",
                "varargs", "m1", "loop.index0", "loop.revindex", "loop.revindex0", "loop.length", "loop.previtem",
                "loop.nextitem", "loop.depth", 'loop.cycle("a","b")', "loop.changed(x)", "loop", "x is defined",
                "y is defined", "loop is defined", "x ~ y", "range(3)", "xs|length", "not x",
            ])
        return self.expression(self.pick([0, 1, 1]))

    def tag(self, text):
        return "{%" + self.pick(["", "", "-", "-", "+"]) + f" {text} " + self.pick(["", "", "-", "-", "+"]) + "%}"

    def space(self):
        return self.pick(["", " ", "\n", "\n  ", "  ", "txt", "a\n", "\n\n", "b ", "\t", "x\n y"])

    def body(self, depth):
        return "".join(self.statement(depth) for _ in range(self.rng.randint(1, 3)))

    def statement(self, depth):
        pick, tag = self.pick, self.tag
        if depth <= 0 or self.rng.random() < 0.25:
            out = "{{" + pick(["", "-"]) + " " + self.simple() + " " + pick(["", "-"]) + "}}"
        else:
            makers = [
                (13, self.assignment), (14, lambda: self.condition(depth)), (18, lambda: self.loop(depth)),
                (8, lambda: self.macro(depth)),
                (4, lambda: tag("call" + pick(["", "(x)", "(a,b=1)"]) + " " + pick(["m1()", "m2(x)", "m1(1,2)"]))
                 + self.body(depth - 1) + tag("endcall")),
                (4, lambda: tag("filter " + pick(["upper", "trim", 'replace("a","b")', "indent(2)", "upper|trim", "tojson",
                                                  "length"])) + self.body(depth - 1) + tag("endfilter")),
                (4, lambda: tag("set " + pick(["x", "y", "w", "ns.a"]) + pick(["", " | trim", " | upper | length"]))
                 + self.body(depth - 1) + tag("endset")),
                (3, lambda: tag("with " + pick(["x=1", "x=y, y=x", "", "x=xs", "(x,y)=(1,2)"])) + self.body(depth - 1)
                 + tag("endwith")),
                (2, lambda: tag("generation") + self.body(depth - 1) + tag("endgeneration")),
                (2, lambda: "{#" + pick(["", "-", "+"]) + " note {{ x }} " + pick(["", "-", "+"]) + "#}"),
                (2, lambda: "{%" + pick(["", "-", "+"]) + " raw " + pick(["", "-"]) + "%}" + self.space()
                 + "{{ x }}{% if %}" + self.space() + "{%" + pick(["", "-", "+"]) + " endraw " + pick(["", "-", "+"]) + "%}"),
                (1, lambda: tag("block b%d" % self.rng.randint(0, 3) + pick(["", " scoped"])) + self.body(depth - 1)
                 + tag("endblock")),
                (2, lambda: pick([
                    "{% print x, y %}", '{% include "x" %}', "{{ cycler(1,2).next() }}",
                    '{% if false %}{% include "a" %}{% endif %}', '{% set j = joiner("|") %}{{ j() }}{{ j() }}',
                    "{% break %}", '{{ raise_exception("no") }}', "{% if x: %}q{% endif %}",
                    '{% set c = cycler("a","b") %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}'])),
            ]
            weights, options = zip(*makers)
            out = self.rng.choices(options, weights)[0]()
        return self.space() + out + self.space()

    def assignment(self):
        return self.tag(self.pick([
            "set " + self.pick("xywz") + " = " + self.simple(), "set " + self.pick("xywz") + " = " + self.simple(),
            "set x, y = " + self.pick(["y, x", "(1,2)", "xs", '"ab"', "d", "x", "[1,[2]]"]),
            "set ns." + self.pick("abc") + " = " + self.simple(),
            "set ns = namespace(" + self.pick(["", "a=1", "a=x,b=[]", "d", '{"a":2}']) + ")",
        ]))

    def condition(self, depth):
        out = self.tag("if " + self.simple()) + self.body(depth - 1)
        for _ in range(self.pick([0, 0, 1])):
            out += self.tag("elif " + self.simple()) + self.body(depth - 1)
        if self.rng.random() < 0.5:
            out += self.tag("else") + self.body(depth - 1)
        return out + self.tag("endif")

    def loop(self, depth):
        iterable = self.pick([
            "xs", "ss", "d", "os", "range(3)", "[1,2,3]", '"abc"', "d.items()", "d|items", "xs|reverse", "v", "undef", "x",
            "ns.b", "[]", "[[1,2],[3,4]]", "xs[::-1]", 'ss|map("upper")',
        ])
        target = "x, y" if "items" in iterable else self.pick(["x", "y", "x", "x, y", "(x,y)", "z", "w"])
        opening = f"for {target} in {iterable}" + (" if " + self.simple() if self.rng.random() < 0.2 else "")
        body = self.body(depth - 1)
        if self.rng.random() < 0.06:
            opening += " recursive"
            body += "{{ loop(x) if x is iterable and x is not string and loop.depth < 4 }}"
        if self.rng.random() < 0.15:
            body += self.tag("if " + self.simple()) + self.tag(self.pick(["break", "continue"])) + self.tag("endif")
        otherwise = self.tag("else") + self.body(depth - 1) if self.rng.random() < 0.3 else ""
        return self.tag(opening) + body + otherwise + self.tag("endfor")

    def macro(self, depth):
        signature = self.pick(["()", "(a)", "(a,b=2)", "(a=1,b=a)", "(x,y=x)", "(a,caller=none)", "(b,a=b)"])
        extra = self.pick(["", "{{ a }}{{ b }}", "{{ caller() }}", "{{ varargs }}{{ kwargs }}"])
        return self.tag("macro " + self.pick(["m1", "m2"]) + signature) + self.body(depth - 1) + extra + self.tag("endmacro")

    def template(self):
        start = "{% set ns = namespace(a=0,b=[1]) %}" if self.rng.random() < 0.8 else ""
        return start + self.body(self.pick([1, 2, 3]))
