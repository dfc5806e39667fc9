package main

import (
	"os"
	"strings"
)

// widest is how wide a line of several instructions may be.
const widest = 120

// fold joins instructions that follow each other in lines of up to widest columns. Each
// line has an entry in the table from which the runtime reads where it is: instructions
// alone on theirs were 1 % of the program. A line ends where memory is written and, once
// it is half full, before loads that come after arithmetic, so it is about one step of a
// kernel. Labels, branches, and what vet compares with the declarations in Go stand alone.
func fold(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var b strings.Builder
	line, loading := "", false
	flush := func() {
		if line != "" {
			b.WriteString("\t" + line + "\n")
			line = ""
		}
	}
	for l := range strings.Lines(string(text)) {
		if !foldable(l) {
			flush()
			b.WriteString(l)
			continue
		}
		words := strings.Fields(l)
		load := loads(words)
		if len("\t; ")+len(line)+len(strings.Join(words, " ")) > widest || load && !loading && len(line) > widest/2 {
			flush()
		}
		if line != "" {
			line += "; "
		}
		line += strings.Join(words, " ")
		if loading = load; stores(words) {
			flush()
		}
	}
	flush()
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// foldable says whether a line of assembly is an instruction that may share its line.
func foldable(l string) bool {
	if !strings.HasPrefix(l, "\t") || strings.Contains(l, "//") || strings.Contains(l, "(FP)") {
		return false
	}
	name := strings.Fields(l)[0]
	return name[0] != 'J' && name != "CALL" && name != "RET"
}

// loads says whether an instruction brings memory into a register.
func loads(words []string) bool {
	return len(words) > 2 && strings.Contains(words[0], "MOV") && isMemory(words[1]) ||
		strings.HasPrefix(words[0], "VBROADCAST") || strings.HasPrefix(words[0], "VPBROADCAST") || strings.HasPrefix(words[0], "PREFETCH")
}

// stores says whether an instruction writes to memory.
func stores(words []string) bool {
	return len(words) > 2 && isMemory(words[len(words)-1]) && !strings.HasPrefix(words[0], "CMP") && !strings.HasPrefix(words[0], "TEST")
}

func isMemory(operand string) bool { return strings.Contains(operand, "(") }
