package llm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/salver-ml/salver/internal/llm/arch"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// maxJSON bounds the small files of a folder, in bytes.
const maxJSON = 16 << 20

// openFolder reads a folder as transformers writes it.
func openFolder(path string) (s *source, err error) {
	raw, err := readSmall(path, "config.json")
	if err != nil {
		return nil, err
	}
	config, err := arch.FromHuggingFace(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s = &source{config: config}
	if s.arch, err = arch.Of(config); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(path, "modules.json")); err == nil {
		s.pooled = true
	}
	if err := s.readGeneration(path, raw); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if s.template, err = folderTemplate(path); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if s.tokenizer, err = token.FromFolder(os.DirFS(path)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.ends = union(s.tokenizer.EOS(), s.ends)
	s.nameEnds()
	return s, s.openTensors(path)
}

// nameEnds notes how templates write the tokens at a text's ends.
func (s *source) nameEnds() {
	if id, ok := s.tokenizer.BOS(); ok {
		s.bos = s.tokenizer.Piece(id)
	}
	if ids := s.tokenizer.EOS(); len(ids) > 0 {
		s.eos = s.tokenizer.Piece(ids[0])
	}
}

func union(lists ...[]int32) (all []int32) {
	for _, list := range lists {
		for _, id := range list {
			if !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	return all
}

// readSmall reads a file of a folder that is not large.
func readSmall(folder, name string) ([]byte, error) {
	path := filepath.Join(folder, name)
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxJSON {
		return nil, fmt.Errorf("%s has %d bytes, expected at most %d", path, st.Size(), maxJSON)
	}
	return os.ReadFile(path)
}

// readOptional decodes a JSON file if it is there.
func readOptional(folder, name string, into any) error {
	b, err := readSmall(folder, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// tokenIDs are one id or several.
type tokenIDs []int32

func (t *tokenIDs) UnmarshalJSON(b []byte) error {
	var one *int32
	if err := json.Unmarshal(b, &one); err == nil {
		if *t = nil; one != nil {
			*t = tokenIDs{*one}
		}
		return nil
	}
	return json.Unmarshal(b, (*[]int32)(t))
}

// readGeneration reads what ends an answer, and how the model's makers sample:
// generation_config.json, or config.json in folders without one.
func (s *source) readGeneration(path string, config []byte) error {
	var g struct {
		EOS         tokenIDs `json:"eos_token_id"`
		Sample      bool     `json:"do_sample"`
		Temperature *float32 `json:"temperature"`
		TopK        int      `json:"top_k"`
		TopP        float32  `json:"top_p"`
		MinP        float32  `json:"min_p"`
		TypicalP    float32  `json:"typical_p"`
		Repetition  float32  `json:"repetition_penalty"`
	}
	if err := readOptional(path, "generation_config.json", &g); err != nil {
		return err
	}
	var own struct {
		EOS tokenIDs `json:"eos_token_id"`
	}
	if err := json.Unmarshal(config, &own); err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	if s.ends = g.EOS; len(s.ends) == 0 {
		s.ends = own.EOS
	}
	s.defaults.Repetition = g.Repetition
	if g.Sample { // else it is greedy, whatever else is there
		s.defaults = textgen.Sampling{Temperature: 1, TopK: g.TopK, TopP: g.TopP, MinP: g.MinP, TypicalP: g.TypicalP, Repetition: g.Repetition}
		if g.Temperature != nil {
			s.defaults.Temperature = *g.Temperature
		}
	}
	return nil
}

// folderTemplate is the chat template: a file of its own, or in the tokenizer's
// configuration as a text, or the one called default of several.
func folderTemplate(path string) (string, error) {
	b, err := readSmall(path, "chat_template.jinja")
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return string(b), err
	}
	for _, name := range []string{"chat_template.json", "tokenizer_config.json"} {
		var c struct {
			Template json.RawMessage `json:"chat_template"`
		}
		if err := readOptional(path, name, &c); err != nil {
			return "", err
		}
		if len(c.Template) == 0 || string(c.Template) == "null" {
			continue
		}
		text, err := templateOf(c.Template)
		if err != nil {
			return "", fmt.Errorf("%s: chat_template: %w", name, err)
		}
		return text, nil
	}
	return "", nil
}

func templateOf(raw json.RawMessage) (text string, err error) {
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	var list []struct{ Name, Template string }
	if err := json.Unmarshal(raw, &list); err != nil {
		return "", err
	}
	for _, t := range list {
		if t.Name == "default" || len(list) == 1 {
			return t.Template, nil
		}
	}
	return "", fmt.Errorf("none of %d templates is called default", len(list))
}
