package fields

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

type settings struct{ Heat *float32 }

type request struct {
	Name  string
	Count *int
	On    bool
	Kind  string
	Stop  []string
	settings
	Inner settings
}

var heat = Table[*settings]{Float("heat", "How hot.", 0, 2, func(s *settings) **float32 { return &s.Heat })}

var table = append(Table[*request]{
	Text("name", "Whose.", 8, func(r *request) *string { return &r.Name }),
	Int("count", "How many.", 1, 9, func(r *request) **int { return &r.Count }),
	Bool("on", "Whether.", func(r *request) *bool { return &r.On }),
	OneOf("kind", "Which.", func(r *request) *string { return &r.Kind }, "a", "b"),
	Any("stop", "strings", "Where.", func(r *request, v Value) (err error) { r.Stop, err = v.Strings(2); return err }),
	Object("inner", "More.", heat, func(r *request) *settings { return &r.Inner }),
	Ignore[*request]("user", "for the log"),
	Refuse[*request]("store", "nothing is kept", "false", `{"a":[1]}`),
}, In(heat, func(r *request) *settings { return &r.settings })...)

func read(body string) (r request, err error) {
	v, err := parseBody([]byte(body))
	if err == nil {
		err = table.Read(v, &r)
	}
	return r, err
}

func TestRead(t *testing.T) {
	r, err := read(` {"name":"\ud83d\ude00","count":9,"on":true,"kind":"b","stop":"x","heat":0.5,"inner":{"heat":2},"user":{"any":1},"store": {"a": [1]}} ` + "\n")
	if err != nil {
		t.Fatal(err)
	}
	got := strings.TrimSpace(fmt.Sprintln(r.Name, *r.Count, r.On, r.Kind, r.Stop, *r.Heat, *r.Inner.Heat))
	if want := "😀 9 true b [x] 0.5 2"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r, err = read(`{"name":null,"count":null,"store":null,"inner":null}`)
	if err != nil || r.Count != nil {
		t.Errorf("nulls: %+v, %v", r, err)
	}
}

func TestErrors(t *testing.T) {
	for body, want := range map[string]string{
		``:                            "expected a JSON object: unexpected end of JSON input",
		`{`:                           "expected a JSON object: unexpected end of JSON input",
		`[]`:                          "expected an object, found array",
		`{} {}`:                       "expected a JSON object: invalid character '{' after top-level value",
		"{\"name\":\"\xff\"}":         "expected UTF-8, found the byte 0xff at 9",
		`{"name":"\ud83d"}`:           `expected pairs of surrogates, found \ud83d alone`,
		`{"name":"\ud83d\u0041"}`:     `expected pairs of surrogates, found \ud83d alone`,
		`{"name":"\\\udc00x"}`:        `expected pairs of surrogates, found \udc00 alone`,
		`{"Name":"x"}`:                "Name: there is no such field",
		`{"user":1,"user":1}`:         "user: it is given twice",
		`{"name":"123456789"}`:        "name: expected at most 8 bytes, found 9",
		`{"name":5}`:                  "name: expected a string, found 5",
		`{"count":0}`:                 "count: expected an integer from 1 to 9, found 0",
		`{"count":1.0}`:               "count: expected an integer from 1 to 9, found 1.0",
		`{"count":1e400}`:             "count: expected an integer from 1 to 9, found 1e400",
		`{"count":"3"}`:               `count: expected a number, found "3"`,
		`{"heat":2.5}`:                "heat: expected a number from 0 to 2, found 2.5",
		`{"heat":1e999}`:              "heat: expected a number from 0 to 2, found 1e999",
		`{"inner":{"heat":-1}}`:       "inner.heat: expected a number from 0 to 2, found -1",
		`{"inner":{"warm":-1}}`:       "inner.warm: there is no such field",
		`{"inner":[]}`:                "inner: expected an object, found array",
		`{"on":1}`:                    "on: expected a boolean, found 1",
		`{"kind":"c"}`:                `kind: expected a, b, found "c"`,
		`{"stop":["a","b","c"]}`:      "stop: expected at most 2 elements, found more",
		`{"stop":["a",null]}`:         "stop[1]: expected a string, found null",
		`{"store":true}`:              "store: it is not supported: nothing is kept",
		`{"` + rep("n", 99) + `":1}`:  rep("n", 64) + "…: there is no such field",
		`{"name":"\u0061","name":""}`: "name: it is given twice",
	} {
		_, err := read(body)
		if _, ok := errors.AsType[*Error](err); !ok || err.Error() != want {
			t.Errorf("%s\n     %v\nwant %s", body, err, want)
		}
	}
}

var rep = strings.Repeat

// A number beyond all bounds is answered with them, also where a field stands for any size.
func TestIntegersTooLarge(t *testing.T) {
	for raw, want := range map[string]string{
		"9223372036854775808": "expected an integer from 0 to 2147483647, found 9223372036854775808",
		"2147483648":          "expected an integer from 0 to 2147483647, found 2147483648",
		"-1":                  "expected an integer of at least 0, found -1",
	} {
		v, err := parseBody([]byte(raw))
		if err == nil {
			_, err = v.Int(0, Many)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, expected %q", raw, err, want)
		}
	}
}

func TestIDs(t *testing.T) {
	for raw, want := range map[string]string{`[1,2147483647]`: "[1 2147483647] <nil>", `[-1]`: "error", `[null]`: "error", `[1.5]`: "error", `[2147483648]`: "error", `5`: "error"} {
		ids, err := Value{Raw: json.RawMessage(raw)}.IDs()
		if got := fmt.Sprint(ids, " ", err); got != want && (err == nil || want != "error") {
			t.Errorf("%s: %s", raw, got)
		}
	}
}

func TestMarkdown(t *testing.T) {
	got := append(Table[*request]{Extend(table[1]), table[6], table[7]}, In(heat, func(r *request) *settings { return &r.settings })...).Markdown()
	want := "| Field | Supported | Value | Meaning |\n| --- | --- | --- | --- |\n" +
		"| `count` | extension | integer from 1 to 9 | How many. |\n" +
		"| `user` | ignored | any | for the log |\n" +
		"| `store` | error | only `false`, `{\"a\":[1]}` | nothing is kept |\n" +
		"| `heat` | yes | number from 0 to 2 | How hot. |\n"
	if got != want {
		t.Errorf("%s", got)
	}
}

// An object's members are those that encoding/json finds, and so are an array's elements.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{`{"a" : [1, {"b":"\\\"]}"}] , "c":null}`, `[ ]`, `[1 ,"x",[2],{"a":{}}]`, `{ }`, ` [true]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseBody(b)
		if err != nil {
			return
		}
		var got any
		switch v.Kind() {
		case "object":
			members, err := v.Object()
			if err != nil {
				return // a name came twice
			}
			all := map[string]json.RawMessage{}
			for _, m := range members {
				all[m.Name] = m.Raw
			}
			got = all
		case "array":
			list, err := v.Array(1 << 30)
			if err != nil {
				t.Fatal(err)
			}
			all := []json.RawMessage{}
			for _, e := range list {
				all = append(all, e.Raw)
			}
			got = all
		default:
			return
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if !same(again, b) {
			t.Errorf("%s became %s", b, again)
		}
	})
}

func same(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// Whatever is read fits its bounds and is valid Unicode.
func FuzzRead(f *testing.F) {
	for _, s := range []string{`{"name":"a","count":3}`, `{"inner":{"heat":1},"stop":["a"]}`, `{"name":"\ud83d\ude00"}`, `{"store":{"a":[1]}}`, `{"a":"\\u"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := read(string(b))
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if !json.Valid(b) || len(r.Name) > 8 || r.Count != nil && (*r.Count < 1 || *r.Count > 9) || len(r.Stop) > 2 {
			t.Errorf("%q gave %+v", b, r)
		}
	})
}

func TestMembersAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range maxMembers + 1 {
		fmt.Fprintf(&b, `,"%d":1`, i)
	}
	members := b.String()[1:]
	v, err := parseBody([]byte("{" + members + "}"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Object(); err == nil || !strings.Contains(err.Error(), "at most 4096 members") {
		t.Errorf("got %v", err)
	}
	v.Raw = []byte("{" + members[:strings.LastIndex(members, ",")] + "}")
	if got, err := v.Object(); err != nil || len(got) != maxMembers {
		t.Errorf("%d members, %v", len(got), err)
	}
}
