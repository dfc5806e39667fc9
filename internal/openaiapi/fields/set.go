package fields

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// The functions here are what fields of all types do with their value, and how
// they show its form: a table's generic closures only say where it goes. None
// is inlined, as each object's type would have a copy.

func (v Value) float32(to **float32, lo, hi float64) error {
	f, err := v.Number(lo, hi)
	if err != nil {
		return err
	}
	*to = new(float32(f))
	return nil
}

func (v Value) int(to **int, lo, hi int) error {
	n, err := v.Int(int64(lo), int64(hi))
	if err != nil {
		return err
	}
	*to = new(int(n))
	return nil
}

func (v Value) text(to *string, most int) error {
	s, err := v.Text()
	if err == nil && len(s) > most {
		err = v.Errorf("expected at most %d bytes, found %d", most, len(s))
	}
	*to = s
	return err
}

func (v Value) oneOf(to *string, values []string) error {
	s, err := v.Text()
	if err == nil && !slices.Contains(values, s) {
		err = v.Errorf("expected %s, found %q", strings.Join(values, ", "), s)
	}
	*to = s
	return err
}

func (v Value) refuse(why string, harmless []string) error {
	var b bytes.Buffer
	if json.Compact(&b, v.Raw) == nil && slices.Contains(harmless, b.String()) {
		return nil
	}
	return v.Errorf("it is not supported: %s", why)
}

//go:noinline
func (m Member) noSuchField() error { return m.Errorf("there is no such field") }

//go:noinline
func numberForm(lo, hi float64) string { return "number " + span(lo, hi) }

//go:noinline
func integerForm(lo, hi int) string { return "integer " + span(float64(lo), float64(hi)) }

//go:noinline
func listForm(values []string) string { return strings.Join(values, ", ") }

//go:noinline
func harmlessForm(harmless []string) string {
	if len(harmless) == 0 {
		return "none"
	}
	return "only `" + strings.Join(harmless, "`, `") + "`"
}
