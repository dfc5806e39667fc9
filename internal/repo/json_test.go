package repo

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestJSONSaysTheSameAsText reads one configuration in both forms.
func TestJSONSaysTheSameAsText(t *testing.T) {
	text := `name: "m" max_batch_size: 4 input { name: "x" data_type: TYPE_FP32 dims: [ -1, 3 ] }
dynamic_batching { priority_levels: 1 default_priority_level: 1 priority_queue_policy { key: 1 value { timeout_action: DELAY } } }
parameters { key: "a" value { string_value: "b" } } version_policy { all {} }`
	src := `{"name": "m", "max_batch_size": 4, "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["-1", 3]}],
"dynamic_batching": {"priority_levels": "1", "default_priority_level": 1, "priority_queue_policy": {"1": {"timeout_action": "DELAY"}}},
"parameters": {"a": {"string_value": "b"}}, "version_policy": {"all": {}}}`
	a, err := Parse("t", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseJSON("j", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	ja, _ := json.Marshal(a)
	jb, _ := json.Marshal(b)
	if string(ja) != string(jb) || !b.MaxBatchSizeSet {
		t.Errorf("text %s\njson %s", ja, jb)
	}
}

func TestJSONProblems(t *testing.T) {
	tests := map[string]string{
		`[`:                                    "j: it is not a JSON object: unexpected EOF",
		`[]`:                                   "j: it is not a JSON object: json: cannot unmarshal array into Go value of type map[string]interface {}",
		`{} {}`:                                "j: it has more than one JSON value",
		`{"max_batch_size": "x"}`:              "j: max_batch_size: expected a value of type int32, found x",
		`{"name": 3}`:                          "j: name: expected a value of type string, found 3",
		`{"name": null}`:                       "j: name: expected a value, found null",
		`{"name": [["a"]]}`:                    "j: name: expected a value, found a list in a list",
		`{"nam": "x"}`:                         "j: nam: unknown field of ModelConfig; is name meant?",
		`{"response_cache": {"enable": true}}`: "j: response_cache.enable: not supported: there is no response cache",
		strings.Repeat(`{"input":`, 40) + "1" + strings.Repeat("}", 40): "j: messages are nested more than 32 deep",
	}
	for src, want := range tests {
		if _, err := ParseJSON("j", []byte(src)); err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", src, err, want)
		}
	}
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"input": [{"name": "x", "dims": ["-1", 3]}], "parameters": {"a": {"string_value": "b"}}}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		if cfg, err := ParseJSON("j", src); err == nil && cfg == nil {
			t.Fatal("neither a configuration nor an error")
		}
	})
}
