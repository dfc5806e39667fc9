package repo

import (
	"fmt"
	"regexp"
)

var nameRule = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// CheckName says what is wrong with a model's name: it has 1 to 128 letters,
// digits, '.', '_' and '-', and does not begin with a dot.
func CheckName(name string) error {
	if !nameRule.MatchString(name) || name[0] == '.' {
		return fmt.Errorf("model name %.140q: expected 1 to 128 letters, digits, '.', '_' or '-', not beginning with '.'; rename the file or folder", name)
	}
	return nil
}
