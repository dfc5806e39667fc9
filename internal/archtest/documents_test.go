package archtest

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
)

var requirement = regexp.MustCompile(`(?m)^(?:require )?\s*([a-z0-9.-]+\.[a-z]+/\S+) (v\S+)( // indirect)?$`)

// DEPENDENCIES.md has a row for each direct dependency of each module, with
// its version, and none for what is not required.
func TestDependenciesAreExplained(t *testing.T) {
	rows, required := map[string]string{}, map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (v\\S+) \\|").FindAllStringSubmatch(read(t, "DEPENDENCIES.md"), -1) {
		rows[m[1]] = m[2]
	}
	for _, f := range files(t, "go.mod") {
		text := read(t, f)
		if strings.Contains(text, "\nreplace ") && f == "go.mod" {
			t.Errorf("%s: a replace directive does not reach those who import the module", f)
		}
		for _, m := range requirement.FindAllStringSubmatch(text, -1) {
			name, version := m[1], m[2]
			indirect := m[3] != ""
			said, ok := rows[name]
			switch {
			case name == module:
			case !ok && !indirect:
				t.Errorf("%s requires %s, which has no row in DEPENDENCIES.md: say there what it is for and what it was compared with", f, name)
			case ok && said != version && f == "go.mod":
				t.Errorf("%s requires %s %s, DEPENDENCIES.md says %s", f, name, version, said)
			}
			required[name] = true
		}
	}
	for name := range rows {
		if !required[name] {
			t.Errorf("DEPENDENCIES.md has %s, which no go.mod requires", name)
		}
	}
}

// Relative links in the documents lead to files of the repository.
func TestLinks(t *testing.T) {
	code := regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, f := range files(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(read(t, f), ""), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := fs.Stat(root, path.Join(path.Dir(f), target)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", f, m[1])
			}
		}
	}
}
