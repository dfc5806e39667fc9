package jinja

import (
	"math/big"
	"strings"
	"testing"
)

func TestDecodeJSON(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{` {"b": 1, "a": [true, null, "x"], "b": 2} `, `{"b": 2, "a": [true, null, "x"]}`},
		{`[1, -0, 1.0, 1e2, 18446744073709551615, 0.1]`, `[1, 0, 1.0, 100.0, 18446744073709551615, 0.1]`},
		{`"\u00e9\ud83d\ude00\n\/\u0000"`, "\"é😀\\n/\\u0000\""},
		{`{}`, `{}`}, {`[]`, `[]`}, {`"a\u2028"`, "\"a\u2028\""}, {`1e999`, `Infinity`},
	} {
		v, err := DecodeJSON(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got, err := ToJSON(v); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v, expected %s", c.in, got, err, c.want)
		}
	}
}

func TestDecodeJSONRefuses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{``, "expected a value"}, {`{`, "expected a key"}, {`[1`, "expected ',' or ']'"}, {`[1,]`, "expected a value"}, {`{"a" 1}`, "expected ':'"},
		{`{"a":1,}`, "expected a key"}, {`01`, "expected a value"}, {`1 2`, "expected the end"}, {`"a`, "no closing quote"}, {`"\x"`, "unknown escape"},
		{`"\ud800"`, "half of a surrogate pair"}, {`"\udc00\ud800"`, "half of a surrogate pair"}, {"\"\n\"", "control character"}, {`nul`, "expected a value"},
		{`1.`, "digits behind the point"}, {`1e`, "digits in the exponent"}, {`-`, "expected a value"}, {"\"\xff\"", "not UTF-8"}, {`NaN`, "expected a value"},
		{strings.Repeat("[", 300), "nest deeper than 256 levels"}, {strings.Repeat("9", 5000), "5000 digits, the limit is 4200"},
	} {
		if v, err := DecodeJSON(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40s: got %v, %v, expected an error with %q", c.in, v, err, c.want)
		}
	}
}

func TestMapKeepsItsOrder(t *testing.T) {
	m := NewMap("z", int64(1), "a", int64(2))
	for i := range 50 {
		m.Set(string(rune('A'+i)), int64(i))
	}
	m.Set("z", "again")
	if v, ok := m.Get("z"); !ok || v != "again" {
		t.Errorf("got %v", v)
	}
	first := ""
	for k := range m.All {
		first += k
		if len(first) == 3 {
			break
		}
	}
	if first != "zaA" || m.Len() != 51 {
		t.Errorf("got %q and %d keys, expected zaA and 51", first, m.Len())
	}
	if _, ok := m.Get("nope"); ok {
		t.Error("found a key that is not there")
	}
}

func TestToJSONOfBigIntegers(t *testing.T) {
	b, _ := new(big.Int).SetString("-123456789012345678901234567890", 10)
	if got, err := ToJSON(List{b, Tuple{}}); err != nil || got != "[-123456789012345678901234567890, []]" {
		t.Errorf("got %s, %v", got, err)
	}
}
