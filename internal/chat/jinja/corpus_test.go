package jinja

import (
	"os"
	"strings"
	"testing"
)

// corpus gives the templates of testdata and the variables for them.
func corpus(t testing.TB) ([]string, *Map) {
	t.Helper()
	text, err := os.ReadFile("testdata/templates.txt")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("testdata/variables.json")
	if err != nil {
		t.Fatal(err)
	}
	vars, err := DecodeJSON(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n----\n"), vars.(*Map)
}

// Small templates must give what jinja2 gives; testdata/goldens.py asks it.
func TestCorpus(t *testing.T) {
	sources, vars := corpus(t)
	var golden []goldenResult
	readJSON(t, "testdata/templates.golden.json", &golden)
	if len(golden) != len(sources) {
		t.Fatalf("%d goldens for %d templates: run testdata/goldens.py", len(golden), len(sources))
	}
	for i, source := range sources {
		got, err := "", error(nil)
		tmpl, err := Parse(source)
		if err == nil {
			got, err = tmpl.Render(vars, Options{Now: goldenTime})
		}
		golden[i].check(t, source, got, err)
	}
}
