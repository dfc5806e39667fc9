package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/token/decode"
	"github.com/salver-ml/salver/internal/token/pretokenize"
)

// pair is a token with its number, written ["[SEP]", 102].
type pair struct {
	piece string
	id    int32
}

func (p *pair) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&p.piece, &p.id})
}

// templatePart is a special token or a place for a text.
type templatePart struct {
	SpecialToken *struct {
		ID     string `json:"id"`
		TypeID int    `json:"type_id"`
	} `json:"SpecialToken"`
	Sequence *struct {
		ID     string `json:"id"`
		TypeID int    `json:"type_id"`
	} `json:"Sequence"`
}

// hfEnds are the fields of all post-processors; each has some of them.
type hfEnds struct {
	Type           string            `json:"type"`
	Processors     []json.RawMessage `json:"processors"`
	Sep            *pair             `json:"sep"`
	Cls            *pair             `json:"cls"`
	TrimOffsets    bool              `json:"trim_offsets"`
	AddPrefixSpace bool              `json:"add_prefix_space"`
	UseRegex       bool              `json:"use_regex"`
	Single         []templatePart    `json:"single"`
	Pair           []templatePart    `json:"pair"` // two texts at once are not encoded here
	SpecialTokens  map[string]struct {
		ID     string   `json:"id"`
		IDs    []int32  `json:"ids"`
		Tokens []string `json:"tokens"`
	} `json:"special_tokens"`
}

// hfPostProcessor gives what stands before and after a text.
func hfPostProcessor(raw json.RawMessage, depth int) (before, after []int32, err error) {
	if isNull(raw) {
		return nil, nil, nil
	}
	if err := tooDeep(depth); err != nil {
		return nil, nil, err
	}
	var v hfEnds
	if err := strict(raw, &v); err != nil {
		return nil, nil, err
	}
	switch v.Type {
	case "ByteLevel":
		return nil, nil, nil
	case "BertProcessing", "RobertaProcessing":
		if v.Cls == nil || v.Sep == nil {
			return nil, nil, fmt.Errorf("%s: expected cls and sep", v.Type)
		}
		return []int32{v.Cls.id}, []int32{v.Sep.id}, nil
	case "TemplateProcessing":
		return v.template()
	case "Sequence":
		for _, r := range v.Processors {
			b, a, err := hfPostProcessor(r, depth+1)
			if err != nil {
				return nil, nil, err
			}
			before, after = slices.Concat(b, before), slices.Concat(after, a)
		}
		return before, after, nil
	}
	return nil, nil, fmt.Errorf("type %q is unknown", v.Type)
}

func (v *hfEnds) template() (before, after []int32, err error) {
	texts := 0
	for _, part := range v.Single {
		switch {
		case part.Sequence != nil:
			texts++
		case part.SpecialToken != nil:
			token, ok := v.SpecialTokens[part.SpecialToken.ID]
			if !ok {
				return nil, nil, fmt.Errorf("TemplateProcessing: %q is not among special_tokens", part.SpecialToken.ID)
			}
			if texts == 0 {
				before = append(before, token.IDs...)
			} else {
				after = append(after, token.IDs...)
			}
		}
	}
	if texts != 1 {
		return nil, nil, fmt.Errorf("TemplateProcessing: single has the text %d times, expected once", texts)
	}
	return before, after, nil
}

// hfDecode are the fields of all decoders; each has some of them.
type hfDecode struct {
	Type     string            `json:"type"`
	Decoders []json.RawMessage `json:"decoders"`
	hfMetaspace
	TrimOffsets        bool      `json:"trim_offsets"`
	UseRegex           bool      `json:"use_regex"`
	Prefix             *string   `json:"prefix"`
	Cleanup            bool      `json:"cleanup"`
	Suffix             *string   `json:"suffix"`
	PadToken           string    `json:"pad_token"`
	WordDelimiterToken string    `json:"word_delimiter_token"`
	Pattern            hfPattern `json:"pattern"`
	Content            string    `json:"content"`
	Start              int       `json:"start"`
	Stop               int       `json:"stop"`
}

// hfDecoder reads the steps of a decoder into one. Steps that rewrite pieces
// must come before the one that reads bytes, as they do in all known files.
func hfDecoder(raw json.RawMessage) (decode.Decoder, error) {
	b := &decoderBuilder{}
	if isNull(raw) {
		b.d.Rewrites = []decode.Rewrite{decode.Spaced}
		return b.d, nil
	}
	err := b.add(raw, 0)
	return b.d, err
}

type decoderBuilder struct {
	d     decode.Decoder
	fused bool
}

func (b *decoderBuilder) add(raw json.RawMessage, depth int) error {
	if err := tooDeep(depth); err != nil {
		return err
	}
	var v hfDecode
	if err := strict(raw, &v); err != nil {
		return err
	}
	if v.Type == "Sequence" {
		for _, r := range v.Decoders {
			if err := b.add(r, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if err := b.step(&v); err != nil {
		return fmt.Errorf("%s: %w", v.Type, err)
	}
	return nil
}

func (b *decoderBuilder) step(v *hfDecode) error {
	d := &b.d
	switch v.Type {
	case "Fuse":
		b.fused = true
		return nil
	case "Strip":
		if v.Start < 0 || v.Stop < 0 {
			return fmt.Errorf("start is %d and stop is %d, expected no negative numbers", v.Start, v.Stop)
		}
		if b.fused || d.Spelling == decode.ByteLevel {
			if d.Trim != "" {
				return errors.New("the whole text is stripped twice, which is not supported")
			}
			d.Trim, d.TrimStart, d.TrimEnd = v.Content, v.Start, v.Stop
			return nil
		}
	}
	bytesRead := d.Spelling == decode.ByteFallback && v.Type == "Metaspace" // ChatGLM's
	if b.fused || d.Spelling != decode.Characters && !bytesRead {
		return errors.New("after Fuse, ByteLevel or ByteFallback, only Strip is supported, and Metaspace after ByteFallback")
	}
	rewrite := func(f decode.Rewrite) {
		if bytesRead {
			f = decode.ButBytes(f)
		}
		d.Rewrites = append(d.Rewrites, f)
	}
	switch v.Type {
	case "ByteLevel":
		d.Spelling = decode.ByteLevel
	case "ByteFallback":
		d.Spelling = decode.ByteFallback
	case "Strip":
		rewrite(decode.Strip(v.Content, v.Start, v.Stop))
	case "Replace":
		if v.Pattern.String == nil {
			return errors.New("expected a String as pattern")
		}
		rewrite(decode.Replace(*v.Pattern.String, v.Content))
	case "Metaspace":
		scheme, err := v.scheme()
		if err != nil {
			return err
		}
		rewrite(decode.Metaspace(v.Replacement, scheme != pretokenize.Never))
	case "WordPiece":
		prefix := "##"
		if v.Prefix != nil {
			prefix = *v.Prefix
		}
		rewrite(decode.WordPiece(prefix))
		if v.Cleanup {
			rewrite(decode.Cleanup)
		}
	case "BPEDecoder":
		d.Suffix = "</w>"
		if v.Suffix != nil {
			d.Suffix = *v.Suffix
		}
	case "CTC":
		d.Dedupe = true
		rewrite(decode.Replace(v.PadToken, ""))
		if v.Cleanup {
			rewrite(decode.Cleanup)
			rewrite(decode.Replace(v.WordDelimiterToken, " "))
		}
	default:
		return errors.New("this type is unknown")
	}
	return nil
}
