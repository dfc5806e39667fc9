package grpcapi

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/repo"
)

// configMessage is a configuration as the message ModelConfig of
// api/oip/model_config.proto, with what its JSON has too.
func configMessage(c *repo.Config) message {
	m := message{}.text(1, c.Name).text(2, c.Platform).inner(3, versionPolicy(&c.VersionPolicy)).number(4, int64(c.MaxBatchSize))
	for i := range c.Input {
		t := &c.Input[i]
		m = m.inner(5, reshaped(numbers(named(t), 4, t.Dims), t).bool(8, t.Optional))
	}
	for i := range c.Output {
		t := &c.Output[i]
		m = m.inner(6, reshaped(numbers(named(t), 3, t.Dims).text(4, t.LabelFilename), t))
	}
	for _, g := range c.InstanceGroup {
		kind := slices.Index([]string{"KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"}, g.Kind)
		m = m.inner(7, message{}.text(1, g.Name).number(2, int64(g.Count)).number(4, int64(max(kind, 0))))
	}
	m = m.text(8, c.DefaultModelFilename)
	if b := c.DynamicBatching; b != nil {
		m = m.inner(11, batching(b))
	}
	m = entries(m, 14, c.Parameters, func(p repo.Parameter) message { return message{}.text(1, p.StringValue) })
	for _, w := range c.ModelWarmup {
		x := message{}.text(1, w.Name).number(2, int64(w.BatchSize))
		m = m.inner(16, entries(x, 3, w.Inputs, warmupInput).number(4, int64(w.Count)))
	}
	return m.text(17, c.Backend).text(25, c.Runtime)
}

// entries are the fields of a map from strings to messages.
func entries[T any](m message, n protowire.Number, from map[string]T, value func(T) message) message {
	for _, key := range slices.Sorted(maps.Keys(from)) {
		m = m.inner(n, message{}.text(1, key).inner(2, value(from[key])))
	}
	return m
}

func versionPolicy(p *repo.VersionPolicy) (m message) {
	switch {
	case p.Latest != nil:
		return m.inner(1, message{}.number(1, int64(p.Latest.NumVersions)))
	case p.All != nil:
		return m.inner(2, nil)
	case p.Specific != nil:
		return m.inner(3, numbers(nil, 1, p.Specific.Versions))
	}
	return m
}

// named has the fields that ModelInput and ModelOutput begin with.
func named(t *repo.Tensor) message {
	return message{}.text(1, t.Name).number(2, dataType(t.DataType))
}

func reshaped(m message, t *repo.Tensor) message {
	if t.Reshape == nil {
		return m
	}
	return m.inner(5, numbers(nil, 1, t.Reshape.Shape))
}

func batching(b *repo.DynamicBatching) message {
	m := numbers(nil, 1, b.PreferredBatchSize).number(2, int64(b.MaxQueueDelayMicroseconds)).bool(3, b.PreserveOrdering)
	m = m.number(4, int64(b.PriorityLevels)).number(5, int64(b.DefaultPriorityLevel))
	if b.DefaultQueuePolicy != nil {
		m = m.inner(6, queuePolicy(b.DefaultQueuePolicy))
	}
	for _, level := range slices.Sorted(maps.Keys(b.PriorityQueuePolicy)) {
		p := b.PriorityQueuePolicy[level]
		m = m.inner(7, message{}.number(1, int64(level)).inner(2, queuePolicy(&p)))
	}
	return m
}

func queuePolicy(p *repo.QueuePolicy) message {
	m := message{}.bool(1, p.TimeoutAction == repo.Delay).number(2, int64(p.DefaultTimeoutMicroseconds)).bool(3, p.AllowTimeoutOverride)
	if p.MaxQueueSize != nil {
		m = m.number(4, int64(*p.MaxQueueSize))
	}
	return m
}

func warmupInput(in repo.WarmupInput) message {
	m := numbers(message{}.number(1, dataType(in.DataType)), 2, in.Dims)
	return m.bool(3, in.ZeroData).bool(4, in.RandomData)
}

// dataTypes are in the order of the enum DataType.
var dataTypes = [...]dtype.Type{
	dtype.Invalid, dtype.Bool, dtype.Uint8, dtype.Uint16, dtype.Uint32, dtype.Uint64, dtype.Int8, dtype.Int16, dtype.Int32, dtype.Int64,
	dtype.Float16, dtype.Float32, dtype.Float64, dtype.String, dtype.BFloat16,
}

func dataType(d repo.DataType) int64 {
	return int64(max(slices.Index(dataTypes[:], dtype.Type(d)), 0))
}
