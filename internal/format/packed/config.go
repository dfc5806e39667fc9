package packed

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Method is a family of layouts.
type Method uint8

// The methods.
const (
	GPTQ   Method = iota // zero points are stored less one
	GPTQv2               // and as they are
	AWQ
	Compressed // compressed-tensors
)

// String is the method's name, as config.json has it but for GPTQv2.
func (m Method) String() string {
	return [...]string{"gptq", "gptq_v2", "awq", "compressed-tensors"}[m]
}

// Config is the quantization_config of a model's config.json.
type Config struct {
	Method    Method
	Bits      int
	Group     int // columns that share a scale; 0: all of a row
	Symmetric bool
	ActOrder  bool // GPTQ's desc_act
	// Format is that of compressed-tensors: pack-quantized, int-quantized or
	// float-quantized; naive-quantized is read as the latter two.
	Format string
	// Ignore are the names of layers that are not quantized, beside lm_head; for Write.
	Ignore []string
	Damp   float64 // of GPTQ, for Write

	schemes []scheme // all of a compressed-tensors file
}

// scheme is what a group of layers of compressed-tensors has.
type scheme struct {
	Bits      int    `json:"num_bits"`
	Type      string `json:"type"`
	Symmetric *bool  `json:"symmetric"`
	Group     *int   `json:"group_size"`
	Strategy  string `json:"strategy"`
	Block     []int  `json:"block_structure"`
}

// rawConfig are the members of all methods.
type rawConfig struct {
	Method     string `json:"quant_method"`
	Bits       int    `json:"bits"`
	WBit       int    `json:"w_bit"`
	Group      *int   `json:"group_size"`
	QGroup     *int   `json:"q_group_size"`
	Sym        *bool  `json:"sym"`
	DescAct    bool   `json:"desc_act"`
	Checkpoint string `json:"checkpoint_format"`
	Marlin     bool   `json:"is_marlin_format"`
	Version    string `json:"version"`
	Format     string `json:"format"`
	Groups     map[string]struct {
		Weights *scheme `json:"weights"`
		Format  string  `json:"format"`
	} `json:"config_groups"`
	Cache     json.RawMessage `json:"kv_cache_scheme"`
	Sparsity  json.RawMessage `json:"sparsity_config"`
	Transform json.RawMessage `json:"transform_config"`
}

// Parse reads a quantization_config.
func Parse(b []byte) (*Config, error) {
	var r rawConfig
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("quantization_config: %w", err)
	}
	var c *Config
	var err error
	switch r.Method {
	case "gptq":
		c, err = r.gptq()
	case "awq":
		c, err = r.awq()
	case "compressed-tensors":
		c, err = r.compressed()
	default:
		err = fmt.Errorf("quant_method %q is not supported: expected gptq, awq or compressed-tensors; take the original weights, or a GGUF file", r.Method)
	}
	if err != nil {
		return nil, fmt.Errorf("quantization_config: %w", err)
	}
	return c, nil
}

// group reads a number of columns; -1 and absence are a whole row.
func group(v *int) (int, error) {
	switch {
	case v == nil || *v == -1:
		return 0, nil
	case *v < 1 || *v > 1<<20:
		return 0, fmt.Errorf("group_size is %d, expected -1, or 1 to %d", *v, 1<<20)
	}
	return *v, nil
}

func (r *rawConfig) gptq() (*Config, error) {
	g, err := group(r.Group)
	if err != nil {
		return nil, err
	}
	c := &Config{Method: GPTQ, Bits: r.Bits, Group: g, ActOrder: r.DescAct, Symmetric: r.Sym == nil || *r.Sym}
	switch {
	case r.Checkpoint == "gptq_v2":
		c.Method = GPTQv2
	case r.Checkpoint != "" && r.Checkpoint != "gptq" || r.Marlin:
		return nil, fmt.Errorf("checkpoint_format %q is not supported: expected gptq or gptq_v2", r.Checkpoint)
	}
	if !slices.Contains([]int{2, 3, 4, 8}, c.Bits) {
		return nil, fmt.Errorf("bits is %d, expected 2, 3, 4 or 8", c.Bits)
	}
	return c, nil
}

func (r *rawConfig) awq() (*Config, error) {
	if r.Group == nil {
		r.Group = r.QGroup
	}
	g, err := group(r.Group)
	if err != nil {
		return nil, err
	}
	switch {
	case max(r.Bits, r.WBit) != 4:
		return nil, fmt.Errorf("bits is %d, expected 4", max(r.Bits, r.WBit))
	case r.Version != "" && r.Version != "gemm" && r.Version != "GEMM":
		return nil, fmt.Errorf("version %q is not supported: expected gemm", r.Version)
	}
	return &Config{Method: AWQ, Bits: 4, Group: g}, nil
}

func (r *rawConfig) compressed() (*Config, error) {
	c := &Config{Method: Compressed, Format: r.Format}
	for what, raw := range map[string]json.RawMessage{"kv_cache_scheme": r.Cache, "sparsity_config": r.Sparsity, "transform_config": r.Transform} {
		if s := string(raw); s != "" && s != "null" && s != "{}" && !dense(raw) {
			return nil, fmt.Errorf("%s is %.80s, which is not supported", what, s)
		}
	}
	for name, g := range r.Groups {
		if g.Weights == nil {
			return nil, fmt.Errorf("config_groups: %s says nothing of weights", name)
		}
		for _, f := range []string{r.Format, g.Format} {
			if f != "" && !slices.Contains([]string{"pack-quantized", "int-quantized", "float-quantized", "naive-quantized", "mixed-precision"}, f) {
				return nil, fmt.Errorf("format %q is not supported: expected pack-quantized, int-quantized or float-quantized", f)
			}
		}
		s := *g.Weights
		if s.Bits < 2 || s.Bits > 8 || s.Type != "int" && s.Type != "float" || s.Type == "float" && s.Bits != 8 {
			return nil, fmt.Errorf("config_groups: %s has weights of type %q with %d bits, expected int of 2 to 8, or float of 8", name, s.Type, s.Bits)
		}
		if s.Strategy == "block" && (len(s.Block) != 2 || s.Block[0] < 1 || s.Block[1] < 1) {
			return nil, fmt.Errorf("config_groups: %s has blocks %v, expected two sizes", name, s.Block)
		}
		if _, err := group(s.Group); err != nil {
			return nil, fmt.Errorf("config_groups: %s: %w", name, err)
		}
		c.schemes = append(c.schemes, s)
	}
	if len(c.schemes) == 0 {
		return nil, fmt.Errorf("config_groups is empty")
	}
	s := c.schemes[0]
	c.Bits, c.Symmetric = s.Bits, s.Symmetric == nil || *s.Symmetric
	c.Group, _ = group(s.Group)
	return c, nil
}

// dense reports whether a sparsity_config says that nothing is left out.
func dense(raw json.RawMessage) bool {
	var s struct {
		Format string `json:"format"`
	}
	return json.Unmarshal(raw, &s) == nil && s.Format == "dense"
}
