package serve_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/repo"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
	"github.com/salver-ml/salver/internal/tensor"
)

func info(name string, dt dtype.Type, shape ...int) serve.TensorInfo {
	return serve.TensorInfo{Name: name, DType: dt, Shape: shape}
}

func TestConfigurationIsCompleted(t *testing.T) {
	f := dtype.Float32
	symbolic := servetest.Backend{In: []serve.TensorInfo{info("x", f, -1, 28)}, Out: []serve.TensorInfo{info("y", f, -1, 10)}, CanBatch: true}
	mixing := servetest.Backend{In: symbolic.In, Out: symbolic.Out}
	fixed := servetest.Backend{In: []serve.TensorInfo{info("x", f, 1, 28)}, Out: []serve.TensorInfo{info("y", f, 1, 10)}}
	tests := []struct {
		name, config string
		b            *servetest.Backend
		want         string // max_batch_size, input dims, whether dynamic_batching is there
		sees         string // the input's shape in the metadata
	}{
		{"nothing, model batches", "", &symbolic, "64 [28] true", "FP32 [-1,28]"},
		{"nothing, model mixes rows", "", &mixing, "0 [-1 28] false", "FP32 [-1,28]"},
		{"nothing, model is fixed", "", &fixed, "0 [1 28] false", "FP32 [1,28]"},
		{"a size, model mixes rows", "max_batch_size: 8", &mixing, "8 [28] true", "FP32 [-1,28]"},
		{"dims without the batch", `input { name: "x" dims: 28 }`, &symbolic, "64 [28] true", "FP32 [-1,28]"},
		{"dims with the batch", `input { name: "x" dims: [ -1, 28 ] }`, &symbolic, "0 [-1 28] false", "FP32 [-1,28]"},
		{"dims narrow the model's", `max_batch_size: 0 input { name: "x" dims: [ 4, 28 ] }`, &symbolic, "0 [4 28] false", "FP32 [4,28]"},
		{"batching turned off", "max_batch_size: 0", &symbolic, "0 [-1 28] false", "FP32 [-1,28]"},
		{"a batch of one", "max_batch_size: 1", &symbolic, "1 [28] false", "FP32 [-1,28]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCore(t, &servetest.Backend{In: tt.b.In, Out: tt.b.Out, CanBatch: tt.b.CanBatch}, tt.config)
			cfg, err := c.Config("m", "")
			if err != nil {
				t.Fatal(err)
			}
			got, _ := json.Marshal([]any{cfg.MaxBatchSize, cfg.Input[0].Dims, cfg.DynamicBatching != nil})
			if words := strings.NewReplacer("[[", "", "[", "", "]", "", ",", " ").Replace(string(got)); words != strings.NewReplacer("[", "", "]", "").Replace(tt.want) {
				t.Errorf("got %s, expected %s", words, tt.want)
			}
			md, _ := c.Metadata("m", "")
			if md.Inputs[0].String() != tt.sees {
				t.Errorf("clients see %s, expected %s", &md.Inputs[0], tt.sees)
			}
		})
	}
}

func TestCompletedConfigurationSaysItsBounds(t *testing.T) {
	c := newCore(t, servetest.Identity(2), "max_batch_size: 16 dynamic_batching { priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 2 value { timeout_action: DELAY } } }")
	cfg, err := c.Config("m", "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(cfg.DynamicBatching)
	const want = `{"preferred_batch_size":[],"max_queue_delay_microseconds":0,"preserve_ordering":false,"priority_levels":2,"default_priority_level":1,` +
		`"default_queue_policy":{"timeout_action":"REJECT","default_timeout_microseconds":0,"allow_timeout_override":true,"max_queue_size":128},` +
		`"priority_queue_policy":{"2":{"timeout_action":"DELAY","default_timeout_microseconds":0,"allow_timeout_override":false,"max_queue_size":128}}}`
	if err != nil || string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if cfg.InstanceGroup[0] != (repo.InstanceGroup{Name: "m_0", Kind: "KIND_CPU", Count: 1}) || cfg.Platform != "onnxruntime_onnx" {
		t.Errorf("got %+v", cfg)
	}
}

func TestConfigurationThatDoesNotFit(t *testing.T) {
	b := &servetest.Backend{In: []serve.TensorInfo{info("x", dtype.Float32, 1, 3, -1)}, Out: []serve.TensorInfo{info("y", dtype.Float32, 1, 10)}}
	tests := map[string]string{
		"max_batch_size: 8": `max_batch_size is 8, but "x" FP32 [1,3,-1] has no first dimension of any size; set max_batch_size: 0`,
		`input [ { name: "z" }, { name: "x" data_type: TYPE_INT8 dims: [ 1, 4, 4 ] } ] output { name: "q" }`: `input "z" is unknown; the model's inputs are ["x"]; ` +
			`input "x": data_type is TYPE_INT8, but the model has TYPE_FP32; input "x": dims are [1,4,4], but the model has [1,3,-1]; output "q" is unknown; the model's outputs are ["y"]`,
		`input { name: "x" optional: true }`:                                                                              `input "x" is optional in the configuration, but the model needs it`,
		`input { name: "x" dims: [ 3, 4 ] reshape { shape: [ 1, 3, 5 ] } }`:                                               `input "x": dims [3,4] can't be reshaped to [1,3,5]`,
		`model_warmup { name: "w" inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 1, 2, 3 ] zero_data: true } } }`: `model_warmup "w": model "m" version 1: input "x": expected shape [1,3,-1], found [1,2,3]`,
	}
	for config, want := range tests {
		cfg, err := repo.Parse("c", []byte(config))
		if err != nil {
			t.Fatal(err)
		}
		err = serve.New(serve.Options{}).Register("m", 1, b, cfg)
		wantKind(t, err, serve.InvalidArgument, want)
	}
}

func TestTypesWithoutANameInTheProtocol(t *testing.T) {
	b := servetest.Identity(1)
	b.Out[0].DType = dtype.Sequence
	err := serve.New(serve.Options{}).Register("m", 1, b, nil)
	wantKind(t, err, serve.InvalidArgument, `"y" has the type sequence, which the Open Inference Protocol can't carry`)
}

func TestReshape(t *testing.T) {
	b := &servetest.Backend{In: []serve.TensorInfo{info("x", dtype.Float32, -1)}, Out: []serve.TensorInfo{info("y", dtype.Float32, -1)}, CanBatch: true}
	c := newCore(t, b, `max_batch_size: 8 input { name: "x" dims: [ 1 ] reshape { shape: [ ] } } output { name: "y" dims: [ 1, 1 ] reshape { shape: [ ] } }`)
	r, err := c.Infer(context.Background(), request(tensor.FromSlice([]float32{1, 2, 3}, 3, 1)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if y := r.Outputs[0].Tensor; !slices.Equal(y.Shape, []int{3, 1, 1}) || tensor.Of[float32](y)[2] != 3 {
		t.Errorf("got %v", y)
	}
}

func TestReshapeOfVariableDimensions(t *testing.T) {
	b := &servetest.Backend{In: []serve.TensorInfo{info("x", dtype.Float32, -1, -1, 2)}, Out: []serve.TensorInfo{info("y", dtype.Float32, -1, -1, 2)}}
	c := newCore(t, b, `max_batch_size: 0 input { name: "x" dims: [ -1, 2, -1 ] reshape { shape: [ -1, -1, 2 ] } }`)
	r, err := c.Infer(context.Background(), request(tensor.New(dtype.Float32, 3, 2, 5)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if y := r.Outputs[0].Tensor; !slices.Equal(y.Shape, []int{3, 5, 2}) {
		t.Errorf("got %v", y)
	}
}

func TestInputsOfAnyRank(t *testing.T) {
	b := &servetest.Backend{In: []serve.TensorInfo{info("x", dtype.Float32)}, Out: []serve.TensorInfo{info("y", dtype.Float32)}}
	for config, want := range map[string]string{
		"": "", `input { name: "x" dims: [ -1, 5 ] }`: "", `input { name: "x" dims: 5 }`: "expected shape [5], found [3,5]",
		`input { name: "x" reshape { shape: [ 1 ] } }`: "expected shape [], found [3,5]",
	} {
		r, err := newCore(t, b, config).Infer(context.Background(), request(tensor.New(dtype.Float32, 3, 5)))
		if err == nil {
			r.Release()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, expected %q", config, err, want)
		}
	}
}

func TestScalarsAreNotBatched(t *testing.T) {
	scalar := serve.TensorInfo{Name: "x", DType: dtype.Float32, Shape: []int{}}
	cfg, err := repo.Parse("c", []byte("max_batch_size: 4"))
	if err != nil {
		t.Fatal(err)
	}
	err = serve.New(serve.Options{}).Register("m", 1, &servetest.Backend{In: []serve.TensorInfo{scalar}, Out: []serve.TensorInfo{scalar}}, cfg)
	wantKind(t, err, serve.InvalidArgument, `max_batch_size is 4, but "x" FP32 [] has no first dimension of any size; set max_batch_size: 0`)
}

func TestConfiguredOutputsAreTheOnlyOnes(t *testing.T) {
	b := servetest.Identity(1)
	b.Out = append(b.Out, info("hidden", dtype.Float32, -1, 1))
	b.In = append(b.In, info("z", dtype.Float32, -1, 1))
	b.In[1].Optional = true
	c := newCore(t, b, `output { name: "hidden" }`)
	b.Func = func(_ context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		return []*tensor.Tensor{in[0], row(42)}, nil
	}
	if y, err := infer(c, context.Background(), row(1)); err != nil || y != 42 {
		t.Errorf("got %g %v", y, err)
	}
}

func TestWarmUp(t *testing.T) {
	b := servetest.Identity(2)
	newCore(t, b, `model_warmup [ { name: "w" batch_size: 4 count: 3 inputs { key: "x" value { data_type: TYPE_FP32 dims: 2 random_data: true } } } ]`)
	if b.Runs.Load() != 3 || b.Rows.Load() != 12 || b.Released.Load() != 3 {
		t.Errorf("%d runs of %d rows, %d released", b.Runs.Load(), b.Rows.Load(), b.Released.Load())
	}
}
