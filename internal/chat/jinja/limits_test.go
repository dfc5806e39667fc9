package jinja

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

func render(t *testing.T, source string, opt Options) (string, error) {
	t.Helper()
	tmpl, err := Parse(source)
	if err != nil {
		return "", err
	}
	return tmpl.Render(NewMap("x", int64(1)), opt)
}

// What would run for long, or grow without end, meets a limit that its error names.
func TestLimits(t *testing.T) {
	opt := Options{Steps: 200_000, Output: 1 << 20}
	double := strings.Repeat("{% set s = s ~ s %}", 40)
	for name, c := range map[string]struct{ source, want string }{
		"loops in loops":  {"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "limit of its work: 200000 steps"},
		"doubled string":  {"{% set s = 'abc' %}" + double + "{{ s }}", "limit of its output: 1048576 bytes"},
		"repeated string": {"{{ 'a' * 1000000000000 }}", "limit of its output"},
		"repeated list":   {"{{ [1] * 1000000000000 }}", "limit of its work"},
		"doubled list":    {"{% set s = [1] %}" + strings.ReplaceAll(double, "~", "+"), "limit of its work"},
		"nested pairs":    {"{% set s = (1,) %}" + strings.ReplaceAll(double, "s ~ s", "(s, s)") + "{{ s }}", "limit of its"},
		"hashed pairs":    {"{% set s = (1,) %}" + strings.ReplaceAll(double, "s ~ s", "(s, s)") + "{{ {s: 1} }}", "limit of its"},
		"compared pairs":  {"{% set s = (1,) %}" + strings.ReplaceAll(double, "s ~ s", "(s, s)") + "{% set q = s[0] + s[:1] %}{{ s[:1] + s[1:] == (s[0], s[1]) }}", "limit of its work"},
		"deep list":       {"{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}", "limit of its depth: 1500 levels"},
		"deep tuple key":  {"{% set ns = namespace(x=()) %}{% for i in range(9999) %}{% set ns.x = (ns.x,) %}{% endfor %}{{ {ns.x: 1} }}", "limit of its depth"},
		"itself":          {"{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}", "limit of its depth"},
		"recursion":       {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "limit of its depth"},
		"recursive loop":  {"{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", "limit of its depth"},
		"width":           {"{{ '%999999999d' % 1 }}", "limit of its format's width: 100000 characters"},
		"star width":      {"{{ '%*d' % (999999999, 1) }}", "limit of its format's width"},
		"format width":    {"{{ '{:999999999}'.format(1) }}", "limit of its format's width"},
		"center":          {"{{ 'a'.center(999999999) }}", "limit of its output"},
		"indent":          {"{{ 'a\nb' | indent(999999999) }}", "limit of its output"},
		"tabs":            {"{{ '\t'.expandtabs(999999999) }}", "limit of its output"},
		"batch":           {"{{ [1] | batch(999999999, 0) | list }}", "limit of its work"},
		"replace":         {"{% set s = 'a' * 100000 %}{{ s.replace('a', s) }}", "limit of its output"},
		"join":            {"{% set s = 'a' * 100000 %}{{ s.join(s) }}", "limit of its work"},
		"power":           {"{{ 10 ** 10000000 }}", "limit of its integers: 14000 bits"},
		"squares":         {"{% set ns = namespace(x=3) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}", "limit of its integers"},
		"reading a lot":   {"{% set s = 'a' * 900000 %}{% for i in range(99999) %}{% if s is upper or s | float or s.isdigit() %}{% endif %}{% endfor %}", "limit of its work"},
		"brackets":        {"{{ " + strings.Repeat("(", 100000), "nests deeper than 200 levels"},
		"not":             {"{{ " + strings.Repeat("not ", 100000), "nests deeper than 200 levels"},
		"minus":           {"{{ " + strings.Repeat("-", 100000), "nests deeper than 200 levels"},
		"ifs":             {strings.Repeat("{% if x %}", 100000), "nests deeper than 200 levels"},
		"else":            {"{{ " + strings.Repeat("1 if 0 else ", 50000) + "1 }}", "nests deeper than 200 levels"},
		"chain":           {"{{ x" + strings.Repeat(" + x", 100000) + " }}", "limit of its depth"},
		"attributes":      {"{{ x" + strings.Repeat(".real", 100000) + " }}", "limit of its depth"},
		"digits":          {"{{ " + strings.Repeat("9", 500000) + " }}", "the limit is 4200"},
		"parameters":      {"{% macro f(" + names(100000) + ") %}{% endmacro %}", "more than 1000 names"},
		"arguments":       {"{{ f(" + strings.ReplaceAll(names(100000), ",", "=1,") + "=1) }}", "more than 1000 names"},
		"source":          {strings.Repeat("a", MaxSource+1), "the limit is 1048576"},
	} {
		_, err := render(t, c.source, opt)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, expected an error with %q", name, err, c.want)
		}
	}
}

// names gives n names with commas between them.
func names(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = "a" + strconv.Itoa(i)
	}
	return strings.Join(list, ",")
}

func TestOptionsBound(t *testing.T) {
	const source = "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(9) }}{{ 'a' * 500 }}"
	for _, opt := range []Options{{}, {Steps: 1000}, {Depth: 200}, {Output: 1000}} {
		if _, err := render(t, source, opt); err != nil {
			t.Errorf("%+v: %v", opt, err)
		}
	}
	for _, opt := range []Options{{Steps: 50}, {Depth: 20}, {Output: 499}} {
		var failed *Error
		if _, err := render(t, source, opt); !errors.As(err, &failed) || failed.Kind != "LimitError" {
			t.Errorf("%+v: got %v, expected a LimitError", opt, err)
		}
	}
}

func TestErrorsHaveLines(t *testing.T) {
	for _, c := range []struct {
		source string
		line   int
		want   string
	}{
		{"a\n{{ 1 +\n }}", 3, "expected an expression, found }}"},
		{"\n\n{% if x %}", 3, "the template ends where {% endif %} is expected"},
		{"{{ x }}\n{{ x.y.z }}", 2, "has no attribute 'y'"},
		{"{% macro f() %}\n{{ 1 / 0 }}{% endmacro %}\n\n{{ f() }}", 2, "division by zero"},
		{"{% for i in [1] %}\n{{ i }}\n{% endfor %}\n{{ x() }}", 4, "'int' object is not callable"},
		{"\n{{ [1,\n2,\n\"a\" + 1] }}", 2, "can only concatenate str"},
		{"{% include 'x' %}", 1, `the tag "include" is not supported`},
		{"{% extends 'x' %}", 1, `the tag "extends" is not supported`},
		{"{% autoescape true %}", 1, `the tag "autoescape" is not supported`},
		{"{{ x\n| pprint }}", 2, "no filter named 'pprint'"},
		{"{{ '\\N{BULLET}' }}", 1, "characters by name"},
		{"{{ '\\ud800' }}", 1, "is no character"},
		{"\xff", 1, "not UTF-8"},
		{"a\n{{ nums[1:2, 3] }}", 2, "a slice among several subscripts"},
		{"{{ '{:08,}'.format(1) }}", 1, "not supported"},
		{"\n{% set ns = namespace() %}{% set ns._x = 1 %}", 2, "must not begin with an underscore"},
		{"{{ namespace(_x=1) }}", 1, "must not begin with an underscore"},
		{"{{ strftime_now('%Q') }}", 1, "does not know the directive %Q"},
	} {
		var failed *Error
		_, err := render(t, c.source, Options{})
		if !errors.As(err, &failed) || failed.Line != c.line || !strings.Contains(failed.Text, c.want) {
			t.Errorf("%q: got %v, expected line %d: …%s…", c.source, err, c.line, c.want)
		}
	}
}

func TestRaised(t *testing.T) {
	var raised *Raised
	_, err := render(t, "a\n{{ raise_exception('only user and assistant') }}", Options{})
	if !errors.As(err, &raised) || raised.Line != 2 || raised.Message != "only user and assistant" {
		t.Errorf("got %v", err)
	}
	if want := "chat template, line 2: only user and assistant"; err.Error() != want {
		t.Errorf("got %q, expected %q", err, want)
	}
}

// A template may run many times at once.
func TestTemplatesAreShared(t *testing.T) {
	tmpl, err := Parse("{% set ns = namespace(n=0) %}{% for i in range(50) %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan string)
	for range 8 {
		go func() {
			s, err := tmpl.Render(NewMap("x", int64(2)), Options{})
			if err != nil {
				s = err.Error()
			}
			done <- s
		}()
	}
	for range 8 {
		if s := <-done; s != "100" {
			t.Errorf("got %q", s)
		}
	}
}
