package grpcapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	gproto "google.golang.org/protobuf/proto"

	pb "github.com/salver-ml/salver/api/oip"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/repo"
	"github.com/salver-ml/salver/internal/serve"
)

var update = flag.Bool("update", false, "rewrite oip.binpb")

func TestProtoSetIsThatOfTheMessages(t *testing.T) {
	var want message
	files := pb.Descriptors()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		want = want.inner(1, []byte(files[name]))
	}
	if *update {
		if err := os.WriteFile("oip.binpb", want, 0o666); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(protoSet, want) {
		t.Error("oip.binpb is not that of api/oip; rewrite it with -update")
	}
}

// fill sets all that v holds to values that are not zero and differ.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.String:
		v.SetString("text " + string(rune('a'+*n%26)))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(key, n)
			fill(value, n)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if tag := v.Type().Field(i).Tag.Get("json"); tag != "-" {
				fill(v.Field(i), n)
			}
		}
	}
}

// filled sets what has few possible values.
func filled() *repo.Config {
	c, n := &repo.Config{}, 0
	fill(reflect.ValueOf(c).Elem(), &n)
	c.Input[0].DataType, c.Input[1].DataType = repo.DataType(dtype.Float32), repo.DataType(dtype.String)
	c.Output[0].DataType, c.Output[1].DataType = repo.DataType(dtype.BFloat16), repo.DataType(dtype.Bool)
	c.Input[0].Dims[1] = -1
	for i := range c.Input {
		c.Input[i].LabelFilename, c.Output[i].Optional = "", false
	}
	c.InstanceGroup[0].Kind, c.InstanceGroup[1].Kind = "KIND_CPU", "KIND_MODEL"
	c.DynamicBatching.DefaultQueuePolicy.TimeoutAction = repo.Reject
	for level, p := range c.DynamicBatching.PriorityQueuePolicy {
		p.TimeoutAction = repo.Delay
		c.DynamicBatching.PriorityQueuePolicy[level] = p
	}
	for _, w := range c.ModelWarmup {
		for name, in := range w.Inputs {
			in.DataType, in.RandomData = repo.DataType(dtype.Int64), false
			w.Inputs[name] = in
		}
	}
	return c
}

// A configuration's message says what its JSON says.
func TestConfigMessage(t *testing.T) {
	latest, all, specific := filled(), filled(), filled()
	latest.VersionPolicy = repo.VersionPolicy{Latest: latest.VersionPolicy.Latest}
	all.VersionPolicy = repo.VersionPolicy{All: &struct{}{}}
	specific.VersionPolicy = repo.VersionPolicy{Specific: specific.VersionPolicy.Specific}
	for name, c := range map[string]*repo.Config{"empty": {}, "latest": latest, "all": all, "specific": specific} {
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		want, got := &pb.ModelConfig{}, &pb.ModelConfig{}
		if err := protojson.Unmarshal(text, want); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := gproto.Unmarshal(configMessage(c), got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !gproto.Equal(got, want) {
			t.Errorf("%s:\ngot  %v\nwant %v", name, got, want)
		}
	}
}

func TestStatisticsMessage(t *testing.T) {
	s, n := &serve.ModelStatistics{}, 0
	fill(reflect.ValueOf(s).Elem(), &n)
	s.ResponseStats = nil
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	want, got := &pb.ModelStatistics{}, &pb.ModelStatistics{}
	if err := protojson.Unmarshal(text, want); err != nil {
		t.Fatal(err)
	}
	if err := gproto.Unmarshal(statisticsMessage(s), got); err != nil {
		t.Fatal(err)
	}
	if !gproto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// Messages that are cut off or whose text is not UTF-8 are errors of the request.
func TestHostileRequests(t *testing.T) {
	for name, b := range map[string][]byte{"cut": {0x0a, 5, 'x'}, "UTF-8": {0x0a, 1, 0xff}, "no tag": {0xff}} {
		var model string
		if err := texts(b, &model); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := ofRepository([]byte{0x1a, 2, 0x0a, 9}, func(parameter) error { return nil }); err == nil {
		t.Error("a parameter that is cut off: no error")
	}
}
