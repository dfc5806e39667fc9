package llm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/llm/arch"
)

// Kind says what a model is for.
type Kind int

// The kinds of models.
const (
	Generates Kind = iota
	Embeds
	Reranks
)

// LoadAny reads and prepares the model at path, of whatever kind: one of m and e
// is nil.
func LoadAny(path string, o Options) (m *Model, e *Encoder, err error) {
	src, err := open(path)
	if err != nil {
		return nil, nil, err
	}
	kind, err := kindOf(src.config, src.hf, src.pooled)
	switch {
	case err != nil:
	case kind == Generates:
		m, err = prepare(src, o, nameOf(path, o))
	default:
		e, err = prepareEncoder(path, src, o)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), src.close())
	}
	return m, e, nil
}

// kindOf says what a model is for.
func kindOf(c *arch.Config, hf, pooled bool) (Kind, error) {
	a, err := arch.Find(c.Architecture, hf)
	switch {
	case err != nil:
		return 0, err
	case c.Labels > 0:
		return Reranks, nil
	case a.Encoder || pooled:
		return Embeds, nil
	}
	return Generates, nil
}

// pooling is how the vectors of a text's tokens become one, and how long a text
// may be; 0: as long as the model's context.
type pooling struct {
	kind string // mean, cls or lasttoken
	most int
}

// poolingOfGGUF reads the pooling of a GGUF file, and whether it says any.
func poolingOfGGUF(f *gguf.File, c *arch.Config) (pooling, bool) {
	kinds := []string{"mean", "mean", "cls", "lasttoken", "cls"} // none, mean, CLS, last, rank
	n, err := f.Uint(c.Architecture + ".pooling_type")
	if err != nil || n >= len(kinds) {
		return pooling{kind: "mean"}, false
	}
	return pooling{kind: kinds[n]}, n > 0
}

// poolingOfFolder reads what sentence-transformers writes beside a model: the
// modules that its output goes through. A folder without means the mean.
func poolingOfFolder(path string) (p pooling, err error) {
	p.kind = "mean"
	var modules []struct{ Name, Path, Type string }
	if err := readOptional(path, "modules.json", &modules); err != nil {
		return p, err
	}
	for _, m := range modules {
		switch kind := m.Type[strings.LastIndexByte(m.Type, '.')+1:]; kind {
		case "Transformer", "Normalize": // vectors are normalized in any case
		case "Pooling":
			if !filepath.IsLocal(m.Path) {
				return p, fmt.Errorf("modules.json: path %q is outside of the folder", m.Path)
			}
			if p.kind, err = readPooling(filepath.Join(path, m.Path)); err != nil {
				return p, err
			}
		default:
			return p, fmt.Errorf("modules.json: module %q is not supported, known are Transformer, Pooling and Normalize", m.Type)
		}
	}
	var s struct {
		Most  int  `json:"max_seq_length"`
		Lower bool `json:"do_lower_case"`
	}
	if err := readOptional(path, "sentence_bert_config.json", &s); err != nil {
		return p, err
	}
	if s.Lower {
		return p, errors.New("sentence_bert_config.json: do_lower_case is not supported: expected the tokenizer to do it")
	}
	var c struct {
		Prompt string `json:"default_prompt_name"`
	}
	if err := readOptional(path, "config_sentence_transformers.json", &c); err != nil {
		return p, err
	}
	if c.Prompt != "" {
		return p, fmt.Errorf("config_sentence_transformers.json: default_prompt_name %q is not supported: requests say their own prompts", c.Prompt)
	}
	p.most = s.Most
	return p, nil
}

// readPooling reads which of the modes is set, in its newer form or the older one.
func readPooling(folder string) (string, error) {
	raw, err := readSmall(folder, "config.json")
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: config.json is missing", folder)
	}
	if err != nil {
		return "", err
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return "", fmt.Errorf("%s: config.json: %w", folder, err)
	}
	var set []string
	if mode, ok := fields["pooling_mode"].(string); ok {
		set = append(set, mode)
	}
	for key, v := range fields {
		if mode, ok := strings.CutPrefix(key, "pooling_mode_"); ok && v == true {
			set = append(set, strings.TrimSuffix(strings.TrimSuffix(mode, "_tokens"), "_token"))
		}
	}
	if len(set) == 1 {
		switch set[0] {
		case "mean", "cls", "lasttoken":
			return set[0], nil
		}
	}
	return "", fmt.Errorf("%s: config.json: pooling %q is not supported, expected one of mean, cls and lasttoken", folder, set)
}
