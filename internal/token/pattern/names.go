package pattern

import (
	"strings"
	"sync"
	"unicode"
)

// wordSet is \w: letters, marks, decimal digits, connectors, and what else
// Unicode calls alphabetic.
var wordSet = sync.OnceValue(func() set {
	return union(fromTable(unicode.L), fromTable(unicode.M), fromTable(unicode.Nd), fromTable(unicode.Nl),
		fromTable(unicode.Pc), fromTable(unicode.Other_Alphabetic))
})

// perlWordSet is \w in the libraries of tiktoken and for fixed expressions.
var perlWordSet = sync.OnceValue(func() set { return union(wordSet(), fromTable(unicode.Join_Control)) })

// onigWordSet is \w in Oniguruma outside of classes, with the numbers of Latin-1: ² ³ ¹ ¼ ½ ¾.
var onigWordSet = sync.OnceValue(func() set {
	return union(wordSet(), set{{'²', '³'}, {'¹', '¹'}, {'¼', '¾'}})
})

func (f Flavor) wordSet(inClass bool) set {
	switch {
	case f == Perl:
		return perlWordSet()
	case inClass:
		return wordSet()
	}
	return onigWordSet()
}

var hexDigits = set{{'0', '9'}, {'A', 'F'}, {'a', 'f'}}

var spaceSet = sync.OnceValue(func() set { return fromTable(unicode.White_Space) })

// escaped gives the set of \d, \s or \w, and of their complements; in Oniguruma, of \h, too.
func (f Flavor) escaped(c rune, inClass bool) (set, bool) {
	var s set
	switch unicode.ToLower(c) {
	case 'd':
		s = fromTable(unicode.Nd)
	case 's':
		s = spaceSet()
	case 'w':
		s = f.wordSet(inClass)
	case 'h':
		if f != Oniguruma {
			return nil, false
		}
		s = hexDigits
	default:
		return nil, false
	}
	if unicode.IsUpper(c) {
		s = s.not()
	}
	return s, true
}

// posix are the classes of the form [:alpha:], which are also properties.
func posix(name string) (set, bool) {
	switch name {
	case "alpha", "alphabetic":
		return union(fromTable(unicode.L), fromTable(unicode.Nl), fromTable(unicode.Other_Alphabetic)), true
	case "digit":
		return fromTable(unicode.Nd), true
	case "alnum":
		alpha, _ := posix("alpha")
		return union(alpha, fromTable(unicode.Nd)), true
	case "upper", "uppercase":
		return union(fromTable(unicode.Lu), fromTable(unicode.Other_Uppercase)), true
	case "lower", "lowercase":
		return union(fromTable(unicode.Ll), fromTable(unicode.Other_Lowercase)), true
	case "space", "whitespace":
		return spaceSet(), true
	case "punct":
		return union(fromTable(unicode.P), fromTable(unicode.S)), true
	case "graph":
		return union(fromTable(unicode.L), fromTable(unicode.M), fromTable(unicode.N), fromTable(unicode.P), fromTable(unicode.S),
			fromTable(unicode.Cf), fromTable(unicode.Co)), true
	case "print":
		graph, _ := posix("graph")
		return union(graph, fromTable(unicode.Zs)), true
	case "word":
		return wordSet(), true
	case "blank":
		return union(one('\t'), fromTable(unicode.Zs)), true
	case "cntrl":
		return fromTable(unicode.Cc), true
	case "xdigit":
		return hexDigits, true
	case "ascii":
		return set{{0, 127}}, true
	case "any":
		return set{{0, unicode.MaxRune}}, true
	}
	return nil, false
}

// property gives the set of \p{name}: a general category, a script, or a
// binary property. Case, spaces, - and _ do not count.
func property(name string) (set, bool) {
	key := loose(name)
	for _, table := range []map[string]*unicode.RangeTable{unicode.Categories, unicode.Scripts, unicode.Properties} {
		for n, t := range table {
			if loose(n) == key {
				return fromTable(t), true
			}
		}
	}
	for alias, n := range unicode.CategoryAliases {
		if loose(alias) == key {
			return fromTable(unicode.Categories[n]), true
		}
	}
	if key == "word" {
		return onigWordSet(), true
	}
	if rest, ok := strings.CutPrefix(key, "is"); ok {
		return property(rest)
	}
	return posix(key)
}

func loose(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", " ", "", "-", "").Replace(name))
}
