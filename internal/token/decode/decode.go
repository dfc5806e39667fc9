// Package decode turns pieces back into text, all at once or as they come.
package decode

import (
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/token/bytelevel"
)

// Rewrite changes a piece on its way to text. first says that no piece was before it.
type Rewrite func(piece string, first bool) string

// Spelling is how pieces stand for bytes.
type Spelling uint8

// The spellings.
const (
	// Characters stand for themselves.
	Characters Spelling = iota
	// ByteLevel is GPT-2's alphabet; a piece with other characters stands for itself.
	ByteLevel
	// ByteFallback is <0x0A> and the like for single bytes.
	ByteFallback
)

// Decoder says what pieces stand for.
type Decoder struct {
	// Rewrites are applied to each piece in order, before its spelling is read.
	Rewrites []Rewrite
	Spelling Spelling
	// TrimStart is the number of times that Trim is removed from the beginning
	// of the whole text, if it is there; TrimEnd likewise.
	Trim               string
	TrimStart, TrimEnd int
	// Unknown is the piece for what had none; it is shown as Surface, and nothing
	// is trimmed after it.
	Unknown, Surface string
	// Suffix ends words: it becomes a blank, but at the end of the text nothing.
	Suffix string
	// Dedupe leaves out pieces that repeat the one before (CTC).
	Dedupe bool
}

// Append appends the bytes of a piece to dst.
func (d *Decoder) Append(dst []byte, piece string, first bool) []byte {
	if d.Unknown != "" && piece == d.Unknown {
		return append(dst, d.Surface...)
	}
	for _, f := range d.Rewrites {
		piece = f(piece, first)
	}
	switch d.Spelling {
	case ByteLevel:
		if out, ok := bytelevel.AppendDecoded(dst, piece); ok {
			return out
		}
	case ByteFallback:
		if b, ok := ByteOf(piece); ok {
			return append(dst, b)
		}
	}
	return append(dst, piece...)
}

// ByteOf reads a piece such as <0x0A>.
func ByteOf(piece string) (byte, bool) {
	if len(piece) != 6 || !strings.HasPrefix(piece, "<0x") || piece[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(piece[3:5], 16, 8)
	return byte(b), err == nil
}

// ButBytes leaves pieces that ByteFallback reads as they are.
func ButBytes(f Rewrite) Rewrite {
	return func(piece string, first bool) string {
		if _, isByte := ByteOf(piece); isByte {
			return piece
		}
		return f(piece, first)
	}
}

// Replace puts content in the place of old.
func Replace(old, content string) Rewrite {
	return func(piece string, _ bool) string { return strings.ReplaceAll(piece, old, content) }
}

// Metaspace makes blanks of mark; in the first piece it leaves it out if strip is set.
func Metaspace(mark string, strip bool) Rewrite {
	return func(piece string, first bool) string {
		if first && strip {
			return strings.ReplaceAll(piece, mark, "")
		}
		return strings.ReplaceAll(piece, mark, " ")
	}
}

// WordPiece joins pieces with prefix to what is before them and puts blanks
// before others.
func WordPiece(prefix string) Rewrite {
	return func(piece string, first bool) string {
		if first {
			return piece
		}
		if rest, ok := strings.CutPrefix(piece, prefix); ok {
			return rest
		}
		return " " + piece
	}
}

// Spaced puts a blank before all pieces but the first.
func Spaced(piece string, first bool) string {
	if first {
		return piece
	}
	return " " + piece
}

// Cleanup removes the blanks that English spelling does not have.
func Cleanup(piece string, _ bool) string {
	for _, r := range [...][2]string{{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"},
		{" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}} {
		piece = strings.ReplaceAll(piece, r[0], r[1])
	}
	return piece
}

// Strip removes content from the ends of each piece, at most so many times.
func Strip(content string, start, stop int) Rewrite {
	return func(piece string, _ bool) string {
		for i := 0; i < start && strings.HasPrefix(piece, content); i++ {
			piece = piece[len(content):]
		}
		for i := 0; i < stop && strings.HasSuffix(piece, content); i++ {
			piece = piece[:len(piece)-len(content)]
		}
		return piece
	}
}
