package lm

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/dtype/block"
)

// Mix is a recipe: most matrices get Base, and those on which more depends a
// format of more bits. The names are those of llama-quantize.
type Mix struct {
	Name string
	Base block.Format
	file uint32 // general.file_type
}

// IsFloat reports whether weights stay plain numbers.
func (m Mix) IsFloat() bool { return isFloat(m.Base) }

// mixes are all, those first that people should look at first.
var mixes = []Mix{
	{"Q4_K_M", block.Q4_K, 15}, {"Q4_K_S", block.Q4_K, 14}, {"Q5_K_M", block.Q5_K, 17}, {"Q5_K_S", block.Q5_K, 16}, {"Q6_K", block.Q6_K, 18},
	{"Q8_0", block.Q8_0, 7}, {"Q3_K_L", block.Q3_K, 13}, {"Q3_K_M", block.Q3_K, 12}, {"Q3_K_S", block.Q3_K, 11}, {"Q2_K", block.Q2_K, 10},
	{"Q2_K_S", block.Q2_K, 21}, {"Q4_0", block.Q4_0, 2}, {"Q4_1", block.Q4_1, 3}, {"Q5_0", block.Q5_0, 8}, {"Q5_1", block.Q5_1, 9},
	{"IQ4_NL", block.IQ4_NL, 25}, {"IQ4_XS", block.IQ4_XS, 30}, {"MXFP4", block.MXFP4, 38},
	{"F16", block.F16, 1}, {"BF16", block.BF16, 32}, {"F32", block.F32, 0},
}

// mixAliases are short names.
var mixAliases = map[string]string{"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}

// MixNames lists the names of the mixes.
func MixNames() (names []string) {
	for _, m := range mixes {
		names = append(names, m.Name)
	}
	return names
}

// ParseMix finds a mix by name; lower case is accepted.
func ParseMix(name string) (Mix, error) {
	upper := strings.ToUpper(name)
	if long, ok := mixAliases[upper]; ok {
		upper = long
	}
	for _, m := range mixes {
		if m.Name == upper {
			return m, nil
		}
	}
	return Mix{}, fmt.Errorf("%q is no type: expected one of %s", name, strings.Join(MixNames(), ", "))
}

// An Override gives tensors whose names match Pattern a format.
type Override struct {
	Pattern string // as path.Match has it, or a part of the name
	Format  block.Format
}

// ParseOverride reads GLOB=TYPE.
func ParseOverride(s string) (Override, error) {
	pattern, name, ok := strings.Cut(s, "=")
	if !ok || pattern == "" {
		return Override{}, fmt.Errorf("%q: expected PATTERN=TYPE, such as \"*.ffn_down.weight=q6_k\"", s)
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return Override{}, fmt.Errorf("%q is no pattern: %w", pattern, err)
	}
	f, err := ParseFormat(name)
	return Override{pattern, f}, err
}

// ParseFormat reads the name of a format that can be written.
func ParseFormat(name string) (block.Format, error) {
	f, err := block.Parse(name)
	if err == nil && !f.Encodes() {
		err = fmt.Errorf("%v is read only: there is no quantizer for it", f)
	}
	return f, err
}

func (o *Override) matches(name string) bool {
	ok, _ := path.Match(o.Pattern, name)
	return ok || strings.Contains(name, o.Pattern)
}

// chooser decides on the format of each tensor of one model.
type chooser struct {
	mix              Mix
	o                *Options
	arch             string
	layers, experts  int
	share            int // heads of queries for each head of keys
	tied, importance bool
	converted        bool // the model is no GGUF file yet
}

func newChooser(m *Model, mix Mix, o *Options) *chooser {
	c := &chooser{mix: mix, o: o, layers: m.number("block_count", 0), experts: m.number("expert_count", 0), importance: o.Importance != nil, converted: m.converted}
	c.arch, _ = m.value("general.architecture").(string)
	heads := m.number("attention.head_count", 1)
	c.share = heads / max(m.number("attention.head_count_kv", heads), 1)
	c.tied = !m.has("output.weight")
	return c
}

// kept are parts of the names of matrices that stay plain numbers: they are
// small, and much depends on them.
var kept = []string{"_norm.weight", "ffn_gate_inp", "position_embd.weight", "token_types.weight", "rope_", "ssm_", "altup", "laurel"}

// quantizable reports whether a tensor is one of those that are rounded.
func quantizable(t *Tensor) bool {
	return strings.HasSuffix(t.Name, ".weight") && len(t.Shape) >= 2 && !slices.ContainsFunc(kept, func(part string) bool { return strings.Contains(t.Name, part) })
}

// format gives a tensor's format, and why, if it is not the mix's own choice.
func (c *chooser) format(t *Tensor) (f block.Format, reason string) {
	switch {
	case t.Format == block.I8 || t.Format == block.I16 || t.Format == block.I32 || t.Format == block.I64 || t.Format == block.F64:
		return t.Format, ""
	case len(t.Shape) < 2 && isFloat(t.Format):
		return block.F32, ""
	case !quantizable(t):
		if c.converted && isFloat(t.Format) {
			return block.F32, "small, and much depends on it"
		}
		return t.Format, "small, and much depends on it"
	}
	for i := range c.o.Overrides {
		if o := &c.o.Overrides[i]; o.matches(t.Name) {
			return c.fits(t, o.Format, "asked for")
		}
	}
	head := t.Name == "output.weight" || c.tied && t.Name == "token_embd.weight"
	switch {
	case head && c.o.Output != nil:
		return c.fits(t, *c.o.Output, "asked for")
	case t.Name == "token_embd.weight" && c.o.Embedding != nil:
		return c.fits(t, *c.o.Embedding, "asked for")
	case c.o.Pure || isFloat(c.mix.Base):
		return c.fits(t, c.mix.Base, "")
	case head && c.mix.Base != block.Q8_0:
		return c.fits(t, c.headFormat(t), "the logits follow from it")
	}
	f = c.raised(t.Name)
	if f != c.mix.Base {
		reason = c.mix.Name + " has it so"
	}
	return c.fits(t, f, reason)
}

// headFormat is that of the last product.
func (c *chooser) headFormat(t *Tensor) block.Format {
	if t.Cols()%block.Q6_K.Elems() != 0 {
		return block.Q8_0
	}
	return block.Q6_K
}

// layerOf is the number in "blk.3.attn_v.weight".
func layerOf(name string) int {
	rest, ok := strings.CutPrefix(name, "blk.")
	if !ok {
		return 0
	}
	number, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0
	}
	return n
}

// often is every third layer, and all of the first and the last eighth.
func often(i, n int) bool { return i < n/8 || i >= 7*n/8 || (i-n/8)%3 == 2 }

// raised is the format of a matrix of a layer.
func (c *chooser) raised(name string) block.Format {
	i, n, base := layerOf(name), c.layers, c.mix.Base
	part := func(s string) bool { return strings.Contains(name, "."+s+".weight") }
	switch {
	case part("attn_v"):
		return c.values(i, n)
	case part("attn_k") && c.experts == 8:
		return block.Q8_0
	case part("attn_qkv"):
		switch c.mix.Name {
		case "Q3_K_M", "Q3_K_L":
			return block.Q4_K
		case "Q4_K_M":
			return block.Q5_K
		case "Q5_K_M":
			return block.Q6_K
		}
	case part("attn_output"):
		return c.attentionOutput()
	case part("ffn_down") || part("ffn_down_exps"):
		return c.down(i, n)
	}
	return base
}

// values is the format of the matrix of values, which is small where heads share them.
func (c *chooser) values(i, n int) block.Format {
	base := c.mix.Base
	if c.experts == 8 {
		return block.Q8_0
	}
	f := base
	switch c.mix.Name {
	case "Q2_K":
		f = block.Q3_K
		if c.share >= 4 {
			f = block.Q4_K
		}
	case "Q2_K_S":
		if c.share >= 4 {
			f = block.Q4_K
		}
	case "Q3_K_M":
		f = block.Q4_K
		if i < 2 {
			f = block.Q5_K
		}
	case "Q3_K_L":
		f = block.Q5_K
	case "IQ4_NL", "IQ4_XS":
		if c.share >= 4 {
			f = block.Q5_K
		}
	case "Q4_K_M", "Q5_K_M":
		if often(i, n) {
			f = block.Q6_K
		}
	case "Q4_K_S":
		if i < 4 {
			f = block.Q5_K
		}
	}
	if c.arch == "llama" && n == 80 && (f == block.Q3_K || f == block.Q4_K) { // the 70B models share values among 8 heads
		f = block.Q5_K
	}
	return f
}

func (c *chooser) attentionOutput() block.Format {
	switch c.mix.Name {
	case "Q2_K", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ4_XS":
		if c.experts == 8 {
			return block.Q5_K
		}
	}
	switch c.mix.Name {
	case "Q2_K":
		return block.Q3_K
	case "Q3_K_M":
		return block.Q4_K
	case "Q3_K_L":
		return block.Q5_K
	}
	return c.mix.Base
}

// down is the format of the last matrix of a feed-forward network.
func (c *chooser) down(i, n int) block.Format {
	early := i < n/8
	switch c.mix.Name {
	case "Q2_K":
		return block.Q3_K
	case "Q2_K_S":
		if early {
			return block.Q4_K
		}
	case "Q3_K_M":
		if i < n/16 {
			return block.Q5_K
		}
		return block.Q4_K
	case "Q3_K_L":
		return block.Q5_K
	case "Q4_K_M", "Q5_K_M":
		if often(i, n) {
			return block.Q6_K
		}
	case "IQ4_NL", "IQ4_XS", "Q4_K_S":
		if early && (c.mix.Name == "Q4_K_S" || !c.importance) {
			return block.Q5_K
		}
	case "Q4_0", "Q5_0":
		if early && c.importance {
			return c.mix.Base + 1 // Q4_1, Q5_1
		}
	}
	return c.mix.Base
}

// smaller are the formats that take the place of those whose blocks are too long
// for a row.
var smaller = map[block.Format]block.Format{
	block.Q2_K: block.Q4_0, block.Q3_K: block.Q4_0, block.IQ4_XS: block.IQ4_NL, block.Q4_K: block.Q5_0, block.Q5_K: block.Q5_1, block.Q6_K: block.Q8_0,
}

// fits gives f, or a format whose blocks divide a row.
func (c *chooser) fits(t *Tensor, f block.Format, reason string) (block.Format, string) {
	for cols := t.Cols(); cols%f.Elems() != 0; {
		reason = fmt.Sprintf("%d columns are no multiple of %d, the block of %v", cols, f.Elems(), f)
		next, ok := smaller[f]
		if !ok {
			next = block.F16
		}
		f = next
	}
	return f, reason
}
