package pretokenize

import (
	"slices"
	"sync"
	"unicode"
)

// Scripts cuts where characters of another script begin, as SentencePiece does. Blanks, and
// characters that Unicode 9 does not have, go with what is before them, and are lost where
// nothing is, as in the tokenizers library.
type Scripts struct{}

// Split implements Step.
func (Scripts) Split(dst []string, text string, _ bool, _ *Scratch) []string {
	var script *unicode.RangeTable
	from := 0
	for i, r := range text {
		next := scriptOf(r)
		if next == nil || next == script {
			continue
		}
		if script != nil {
			dst = append(dst, text[from:i])
		}
		script, from = next, i
	}
	if script == nil {
		return dst
	}
	return append(dst, text[from:])
}

// scriptOf gives the script of a character, or nil for one that goes with any. All that
// Japanese is written in counts as one.
func scriptOf(r rune) *unicode.RangeTable {
	switch r {
	case ' ':
		return nil
	case 'ー':
		return unicode.Han
	case 0x589, 0x61c: // their scripts are those of Unicode 9
		return unicode.Common
	case 0x953, 0x954:
		return unicode.Devanagari
	}
	all := scripts()
	i, _ := slices.BinarySearchFunc(all, r, func(s scriptRange, r rune) int { return int(s.end - r) })
	if i == len(all) || r < all[i].start || unicode.Is(scriptsSince9, r) {
		return nil
	}
	return all[i].script
}

// scriptRange is a run of characters of one script.
type scriptRange struct {
	start, end rune
	script     *unicode.RangeTable
}

// scripts are all scripts in the order of characters.
var scripts = sync.OnceValue(func() (all []scriptRange) {
	for _, script := range unicode.Scripts {
		name := script
		if script == unicode.Hiragana || script == unicode.Katakana {
			name = unicode.Han
		}
		add := func(start, end, stride rune) {
			if stride == 1 {
				all = append(all, scriptRange{start, end, name})
				return
			}
			for r := start; r <= end; r += stride {
				all = append(all, scriptRange{r, r, name})
			}
		}
		for _, r := range script.R16 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
		for _, r := range script.R32 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
	}
	slices.SortFunc(all, func(a, b scriptRange) int { return int(a.start - b.start) })
	return all
})

// scriptsSince9 are characters that got a script after Unicode 9, found by asking the
// library, 0.23, for each character.
var scriptsSince9 = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x560, 0x560, 1}, {0x588, 0x588, 1}, {0x5ef, 0x5ef, 1}, {0x61d, 0x61d, 1}, {0x7fd, 0x7ff, 1}, {0x860, 0x89f, 1}, {0x8b5, 0x8b5, 1}, {0x8be, 0x8d3, 1},
		{0x9fc, 0x9fe, 1}, {0xa76, 0xa76, 1}, {0xafa, 0xaff, 1}, {0xb55, 0xb55, 1}, {0xc04, 0xc04, 1}, {0xc3c, 0xc3c, 1}, {0xc5d, 0xc5d, 1}, {0xc77, 0xc77, 1},
		{0xc84, 0xc84, 1}, {0xcdd, 0xcdd, 1}, {0xcf3, 0xd00, 1}, {0xd04, 0xd04, 1}, {0xd3b, 0xd3c, 1}, {0xd81, 0xd81, 1}, {0xe86, 0xe86, 1}, {0xe89, 0xe89, 1},
		{0xe8c, 0xe8c, 1}, {0xe8e, 0xe93, 1}, {0xe98, 0xe98, 1}, {0xea0, 0xea0, 1}, {0xea8, 0xea9, 1}, {0xeac, 0xeac, 1}, {0xeba, 0xeba, 1}, {0xece, 0xece, 1},
		{0x170d, 0x170d, 1}, {0x1715, 0x171f, 1}, {0x180f, 0x180f, 1}, {0x1878, 0x1878, 1}, {0x1abf, 0x1ace, 1}, {0x1b4c, 0x1b4c, 1}, {0x1b7d, 0x1b7e, 1},
		{0x1c90, 0x1cbf, 1}, {0x1cf7, 0x1cf7, 1}, {0x1cfa, 0x1cfa, 1}, {0x1df6, 0x1dfa, 1}, {0x20bf, 0x20c0, 1}, {0x23ff, 0x23ff, 1}, {0x2b97, 0x2b97, 1},
		{0x2bba, 0x2bbc, 1}, {0x2bc9, 0x2bc9, 1}, {0x2bd2, 0x2beb, 1}, {0x2bf0, 0x2bff, 1}, {0x2c2f, 0x2c2f, 1}, {0x2c5f, 0x2c5f, 1}, {0x2e45, 0x2e5d, 1},
		{0x312e, 0x312f, 1}, {0x31bb, 0x31bf, 1}, {0x32ff, 0x32ff, 1}, {0x4db6, 0x4dbf, 1}, {0x9fd6, 0x9fff, 1}, {0xa7af, 0xa7af, 1}, {0xa7b8, 0xa7f6, 1},
		{0xa82c, 0xa82c, 1}, {0xa8fe, 0xa8ff, 1}, {0xab66, 0xab6b, 1}, {0xfbc2, 0xfbc2, 1}, {0xfd40, 0xfd4f, 1}, {0xfdcf, 0xfdcf, 1}, {0xfdfe, 0xfdff, 1},
	},
	R32: []unicode.Range32{
		{0x1019c, 0x1019c, 1}, {0x1032d, 0x1032f, 1}, {0x10570, 0x105bc, 1}, {0x10780, 0x107ba, 1}, {0x10a34, 0x10a35, 1}, {0x10a48, 0x10a48, 1},
		{0x10d00, 0x10d39, 1}, {0x10e80, 0x10ff6, 1}, {0x11070, 0x11075, 1}, {0x110c2, 0x110cd, 1}, {0x11144, 0x11147, 1}, {0x111ce, 0x111cf, 1},
		{0x1123f, 0x11241, 1}, {0x1133b, 0x1133b, 1}, {0x1145a, 0x1145a, 1}, {0x1145e, 0x11461, 1}, {0x116b8, 0x116b9, 1}, {0x1171a, 0x1171a, 1},
		{0x11740, 0x1183b, 1}, {0x11900, 0x11abf, 1}, {0x11b00, 0x11b09, 1}, {0x11d00, 0x11fff, 1}, {0x12f90, 0x12ff2, 1}, {0x1342f, 0x13455, 1},
		{0x16a70, 0x16ac9, 1}, {0x16e40, 0x16e9a, 1}, {0x16f45, 0x16f4f, 1}, {0x16f7f, 0x16f87, 1}, {0x16fe1, 0x16ff1, 1}, {0x187ed, 0x187f7, 1},
		{0x18af3, 0x1affe, 1}, {0x1b002, 0x1b2fb, 1}, {0x1cf00, 0x1cfc3, 1}, {0x1d1e9, 0x1d1ea, 1}, {0x1d2c0, 0x1d2f3, 1}, {0x1d372, 0x1d378, 1},
		{0x1df00, 0x1df2a, 1}, {0x1e030, 0x1e7fe, 1}, {0x1e94b, 0x1e94b, 1}, {0x1ec71, 0x1ed3d, 1}, {0x1f10d, 0x1f10f, 1}, {0x1f12f, 0x1f12f, 1},
		{0x1f16c, 0x1f16f, 1}, {0x1f1ad, 0x1f1ad, 1}, {0x1f260, 0x1f265, 1}, {0x1f6d3, 0x1f6df, 1}, {0x1f6f7, 0x1f6fc, 1}, {0x1f774, 0x1f77f, 1},
		{0x1f7d5, 0x1f7f0, 1}, {0x1f8b0, 0x1f90f, 1}, {0x1f91f, 0x1f91f, 1}, {0x1f928, 0x1f92f, 1}, {0x1f931, 0x1f932, 1}, {0x1f93f, 0x1f93f, 1},
		{0x1f94c, 0x1f94f, 1}, {0x1f95f, 0x1f97f, 1}, {0x1f992, 0x1f9bf, 1}, {0x1f9c1, 0x1fbf9, 1}, {0x2a6d7, 0x2a6df, 1}, {0x2b735, 0x2b739, 1},
		{0x2ceb0, 0x2ebe0, 1}, {0x30000, 0x323af, 1},
	},
}
