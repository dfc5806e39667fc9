package repo

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// Parse reads a configuration in the protobuf text format, as Triton's
// config.pbtxt files are. If anything is wrong or not supported the error is a
// Problems with all of it; file is the name that they carry.
func Parse(file string, src []byte) (*Config, error) {
	m, problem := parseText(src)
	if problem != nil {
		problem.File = file
		return nil, Problems{*problem}
	}
	cfg, ps := build(m)
	for i := range ps {
		ps[i].File = file
	}
	return cfg, ps.err()
}

// build checks a parsed configuration and makes a Config of it.
func build(m *message) (*Config, Problems) {
	c := &checker{s: modelConfig()}
	values := c.message(m, c.s.messages["ModelConfig"], "")
	cfg := &Config{}
	data, err := json.Marshal(values)
	if err == nil {
		err = json.Unmarshal(data, cfg)
	}
	if err != nil {
		c.problems = append(c.problems, Problem{Message: err.Error()})
	}
	_, cfg.MaxBatchSizeSet = values["max_batch_size"]
	if len(c.problems) == 0 {
		c.semantics(cfg, m)
	}
	sort.SliceStable(c.problems, func(i, j int) bool {
		a, b := &c.problems[i], &c.problems[j]
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Col < b.Col
	})
	return cfg, c.problems
}

// valueRules check single values where they stand.
var valueRules = map[string]func(v any) string{
	"ModelConfig.platform": oneOf("", "onnxruntime_onnx"),
	"ModelConfig.backend":  oneOf("", "onnxruntime", "salver"),
	"ModelConfig.name": func(v any) string {
		if err := CheckName(v.(string)); err != nil {
			return err.Error()
		}
		return ""
	},
	"ModelConfig.default_model_filename":                localFile,
	"ModelOutput.label_filename":                        localFile,
	"ModelConfig.max_batch_size":                        within(0, 1<<20),
	"ModelInput.dims":                                   dimension,
	"ModelOutput.dims":                                  dimension,
	"ModelTensorReshape.shape":                          dimension,
	"WarmupInput.dims":                                  dimension,
	"ModelInstanceGroup.count":                          within(0, 1024),
	"Latest.num_versions":                               atMost(1 << 20),
	"ModelWarmup.batch_size":                            atMost(1 << 20),
	"ModelWarmup.count":                                 atMost(1 << 20),
	"ModelDynamicBatching.priority_levels":              atMost(1 << 10),
	"ModelDynamicBatching.max_queue_delay_microseconds": atMost(3600e6),
	"ModelQueuePolicy.default_timeout_microseconds":     atMost(86400e6),
}

func oneOf(allowed ...string) func(any) string {
	return func(v any) string {
		if slices.Contains(allowed, v.(string)) {
			return ""
		}
		return fmt.Sprintf("%q is not supported: expected one of %q", v, allowed)
	}
}

func within(low, high int64) func(any) string {
	return func(v any) string {
		if n := v.(int64); n < low || n > high {
			return fmt.Sprintf("expected %d to %d, found %d", low, high, n)
		}
		return ""
	}
}

func atMost(high uint64) func(any) string {
	return func(v any) string {
		if n := v.(uint64); n > high {
			return fmt.Sprintf("expected at most %d, found %d", high, n)
		}
		return ""
	}
}

func dimension(v any) string {
	if n := v.(int64); n < -1 || n == 0 || n > 1<<40 {
		return fmt.Sprintf("expected a positive dimension, or -1 for any, found %d", n)
	}
	return ""
}

func localFile(v any) string {
	if name := v.(string); name != "" && (!filepath.IsLocal(name) || strings.ContainsAny(name, `\:`)) {
		return fmt.Sprintf("%q is not a file inside the model's folder", name)
	}
	return ""
}

// at gives the place of a top-level field.
func (m *message) at(name string) pos {
	for i := range m.fields {
		if m.fields[i].name == name {
			return m.fields[i].pos
		}
	}
	return pos{1, 1}
}

// semantics checks what concerns several fields.
func (c *checker) semantics(cfg *Config, m *message) {
	for _, in := range []struct {
		field string
		ts    []Tensor
	}{{"input", cfg.Input}, {"output", cfg.Output}} {
		c.tensors(m.at(in.field), in.field, in.ts)
	}
	if d := cfg.DynamicBatching; d != nil {
		c.batching(m.at("dynamic_batching"), cfg, d)
	}
	for i, w := range cfg.ModelWarmup {
		if w.Name == "" {
			c.failf(m.at("model_warmup"), "model_warmup", "entry %d has no name", i+1)
		}
	}
}

func (c *checker) tensors(p pos, field string, ts []Tensor) {
	seen := map[string]bool{}
	for i, t := range ts {
		switch {
		case t.Name == "":
			c.failf(p, field, "entry %d has no name", i+1)
		case seen[t.Name]:
			c.failf(p, field, "%q is described twice", t.Name)
		}
		seen[t.Name] = true
	}
}

func (c *checker) batching(p pos, cfg *Config, d *DynamicBatching) {
	const field = "dynamic_batching"
	for _, n := range d.PreferredBatchSize {
		if n < 1 || cfg.MaxBatchSizeSet && n > cfg.MaxBatchSize {
			c.failf(p, field+".preferred_batch_size", "expected 1 to max_batch_size (%d), found %d", cfg.MaxBatchSize, n)
		}
	}
	if d.PriorityLevels == 0 && d.DefaultPriorityLevel != 0 || d.PriorityLevels > 0 && (d.DefaultPriorityLevel < 1 || d.DefaultPriorityLevel > d.PriorityLevels) {
		c.failf(p, field+".default_priority_level", "expected 1 to priority_levels (%d), found %d", d.PriorityLevels, d.DefaultPriorityLevel)
	}
	for level, q := range d.PriorityQueuePolicy {
		if level < 1 || level > d.PriorityLevels {
			c.failf(p, field+".priority_queue_policy", "expected a level of 1 to priority_levels (%d), found %d", d.PriorityLevels, level)
		}
		c.ordered(p, d, &q)
	}
	if d.DefaultQueuePolicy != nil {
		c.ordered(p, d, d.DefaultQueuePolicy)
	}
	if d.PreserveOrdering && d.PriorityLevels > 1 {
		c.failf(p, field+".preserve_ordering", "can't be kept with %d priority levels", d.PriorityLevels)
	}
}

func (c *checker) ordered(p pos, d *DynamicBatching, q *QueuePolicy) {
	if d.PreserveOrdering && q.TimeoutAction == Delay {
		c.failf(p, "dynamic_batching.preserve_ordering", "can't be kept with timeout_action DELAY")
	}
}
