// Package auth lets in those who have an API key.
//
// Keys come from a file with one key per line, as KEY or NAME:KEY, which may be
// followed by a space and "use" if the key is not for loading and unloading models. Empty lines
// and lines that begin with # are left out. The name is what logs
// show. Once there are keys, everything is refused without one, except what a
// transport declares public (liveness and readiness).
//
// The file must not be writable by others than its owner and group, as who
// writes it decides who gets in. That others can read it is a warning and no
// error, because mounted secrets of containers often are.
//
// Without keys a server listens on loopback addresses only: CheckListen.
package auth

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/salver-ml/salver/internal/oip"
)

// Bounds of a key file.
const (
	maxKeys   = 10_000
	maxFile   = 1 << 20
	shortSafe = 16 // characters below which a key is warned of
)

// Keys are the keys of a file. They can be reloaded while in use.
type Keys struct {
	path    string
	list    atomic.Pointer[[]key]
	refused atomic.Uint64
}

type key struct {
	name    string
	hash    [sha256.Size]byte
	useOnly bool
}

// Load reads a key file. The warnings are for the log; they contain no keys.
func Load(path string) (k *Keys, warnings []string, err error) {
	k = &Keys{path: path}
	warnings, err = k.Reload()
	if err != nil {
		return nil, nil, err
	}
	return k, warnings, nil
}

// Reload reads the file again. After an error the old keys stay.
func (k *Keys) Reload() (warnings []string, err error) {
	f, err := os.Open(k.path)
	if err != nil {
		return nil, fmt.Errorf("API keys: %w", err)
	}
	defer f.Close()
	if warnings, err = checkMode(f); err != nil {
		return nil, fmt.Errorf("API keys: %s: %w", k.path, err)
	}
	list, more, err := parse(f)
	if err != nil {
		return nil, fmt.Errorf("API keys: %s: %w", k.path, err)
	}
	k.list.Store(&list)
	return append(warnings, more...), nil
}

func checkMode(f *os.File) (warnings []string, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	if runtime.GOOS == "windows" { // has no such modes
		return nil, nil
	}
	switch mode := info.Mode().Perm(); {
	case mode&0o002 != 0:
		return nil, fmt.Errorf("everybody can write it (mode %#o): run chmod 600", mode)
	case mode&0o004 != 0:
		warnings = append(warnings, fmt.Sprintf("%s can be read by everybody on this machine (mode %#o): run chmod 600", f.Name(), mode))
	}
	return warnings, nil
}

var (
	keyRule  = regexp.MustCompile(`^[!-~]{1,512}$`) // what fits into a header
	nameRule = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
)

// parse reads the lines of a key file.
func parse(r io.Reader) (list []key, warnings []string, err error) {
	lines := bufio.NewScanner(io.LimitReader(r, maxFile+1))
	size := 0
	for n := 1; lines.Scan(); n++ {
		size += len(lines.Bytes()) + 1
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		text, useOnly := strings.CutSuffix(text, " use")
		text = strings.TrimSpace(text)
		name, secret, named := strings.Cut(text, ":")
		if !named {
			name, secret = fmt.Sprintf("line-%d", n), text
		}
		switch {
		case !nameRule.MatchString(name):
			return nil, nil, fmt.Errorf("line %d: the name before ':' has characters other than letters, digits, '.', '_' and '-'", n)
		case !keyRule.MatchString(secret):
			return nil, nil, fmt.Errorf("line %d: expected a key of 1 to 512 visible ASCII characters without spaces", n)
		case len(secret) < shortSafe:
			warnings = append(warnings, fmt.Sprintf("the API key %q is shorter than %d characters and can be guessed", name, shortSafe))
		}
		k := key{name, sha256.Sum256([]byte(secret)), useOnly}
		for _, o := range list {
			if o.hash == k.hash || o.name == k.name {
				return nil, nil, fmt.Errorf("line %d: its name or key is that of %q again", n, o.name)
			}
		}
		if list = append(list, k); len(list) > maxKeys {
			return nil, nil, fmt.Errorf("it has more than %d keys", maxKeys)
		}
	}
	switch {
	case lines.Err() != nil:
		return nil, nil, lines.Err()
	case size > maxFile:
		return nil, nil, fmt.Errorf("it is larger than %d bytes", maxFile)
	case len(list) == 0:
		return nil, nil, errors.New("it has no keys: nobody could use the server")
	}
	return list, warnings, nil
}

// Len is the number of keys.
func (k *Keys) Len() int { return len(*k.list.Load()) }

// Authorize is an oip.Authorizer. The time that finding a key takes does not
// depend on the key that came.
func (k *Keys) Authorize(secret string, a oip.Access) error {
	e := k.find(secret)
	switch {
	case e == nil:
		k.refused.Add(1)
		return oip.ErrUnauthenticated
	case a == oip.Admin && e.useOnly:
		k.refused.Add(1)
		return oip.ErrForbidden
	}
	return nil
}

// Name is the name of a key; "" if it is not valid.
func (k *Keys) Name(secret string) string {
	if e := k.find(secret); e != nil {
		return e.name
	}
	return ""
}

func (k *Keys) find(secret string) (found *key) {
	hash := sha256.Sum256([]byte(secret))
	list := *k.list.Load()
	for i := range list {
		if subtle.ConstantTimeCompare(hash[:], list[i].hash[:]) == 1 {
			found = &list[i]
		}
	}
	return found
}

// Refused is how many requests came without a key that lets them in. A nil Keys refuses none.
func (k *Keys) Refused() uint64 {
	if k == nil {
		return 0
	}
	return k.refused.Load()
}
