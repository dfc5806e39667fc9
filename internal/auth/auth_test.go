package auth

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/oip"
)

const good = "# people\n\nalice:a-long-enough-key-1\n  another-long-enough-key  \n"

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p, mode); err != nil {
		t.Fatal(err)
	}
	return p
}

func load(t *testing.T, text string) *Keys {
	t.Helper()
	k, _, err := Load(write(t, text, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAuthorize(t *testing.T) {
	k := load(t, good+"bob:just-for-using-it use\n")
	tests := []struct {
		secret, name string
		access       oip.Access
		want         error
	}{
		{"a-long-enough-key-1", "alice", oip.Use, nil},
		{"a-long-enough-key-1", "alice", oip.Admin, nil},
		{"another-long-enough-key", "line-4", oip.Use, nil},
		{"just-for-using-it", "bob", oip.Use, nil},
		{"just-for-using-it", "bob", oip.Admin, oip.ErrForbidden},
		{"just-for-using-it use", "", oip.Use, oip.ErrUnauthenticated},
		{"", "", oip.Use, oip.ErrUnauthenticated},
		{"alice", "", oip.Use, oip.ErrUnauthenticated},
		{"alice:a-long-enough-key-1", "", oip.Use, oip.ErrUnauthenticated},
		{"a-long-enough-key-", "", oip.Use, oip.ErrUnauthenticated},
		{"# people", "", oip.Use, oip.ErrUnauthenticated},
	}
	var refused uint64
	for _, tt := range tests {
		if err := oip.Authorizer(k.Authorize).Check(tt.secret, tt.access); err != tt.want || k.Name(tt.secret) != tt.name {
			t.Errorf("%q: %v, name %q", tt.secret, err, k.Name(tt.secret))
		}
		if tt.want != nil {
			refused++
		}
	}
	if k.Refused() != refused {
		t.Errorf("%d refused, expected %d", k.Refused(), refused)
	}
}

func TestFaultyFiles(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "it has no keys",
		"# only this\n":            "it has no keys",
		"a b:key":                  "line 1: the name before ':'",
		"x\ntwo words":             "line 2: expected a key",
		"a:":                       "line 1: expected a key",
		"a:k1\na:k2":               `line 2: its name or key is that of "a" again`,
		"a:k1\nb:k1":               `line 2: its name or key is that of "a" again`,
		"k\xff":                    "line 1: expected a key",
		strings.Repeat("k", 600):   "line 1: expected a key",
		strings.Repeat("k\n", 600): "line 2: its name or key",
		strings.Repeat("#\n", maxFile/2) + "\n\nabc": "larger than",
	} {
		if _, _, err := Load(write(t, text, 0o600)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, expected %q", text, err, want)
		}
	}
	if _, _, err := Load(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there was read")
	}
	if _, _, err := Load(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
}

func TestFileModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o660: 0, 0o644: 1, 0o664: 1, 0o606: -1, 0o666: -1} {
		_, warnings, err := Load(write(t, good, mode))
		if want < 0 && err == nil || want >= 0 && (err != nil || len(warnings) != want) {
			t.Errorf("mode %#o: %v %v", mode, warnings, err)
		}
	}
	if _, warnings, _ := Load(write(t, "bob:tiny9", 0o600)); len(warnings) != 1 || strings.Contains(warnings[0], "tiny9") || !strings.Contains(warnings[0], `"bob"`) {
		t.Errorf("a short key: %q", warnings)
	}
}

func TestReload(t *testing.T) {
	p := write(t, "a:first-key", 0o600)
	k, _, err := Load(p)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(text string) error {
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := k.Reload()
		return err
	}
	if err := replace("b:second-key"); err != nil {
		t.Fatal(err)
	}
	if k.Name("first-key") != "" {
		t.Error("the old key is still good")
	}
	if err := replace(""); err == nil {
		t.Error("an empty file was taken")
	}
	if k.Name("second-key") != "b" {
		t.Error("a failed reload lost the keys")
	}
}

func TestCheckListen(t *testing.T) {
	for addr, loopback := range map[string]bool{
		"127.0.0.1:8000": true, "127.8.9.1:0": true, "[::1]:8000": true, "localhost:1": true, "[::ffff:127.0.0.1]:1": true, "": true,
		":8000": false, "0.0.0.0:8000": false, "[::]:8000": false, "192.168.1.4:80": false, "example.com:80": false,
	} {
		if err := CheckListen([]string{"127.0.0.1:1", addr}, false); (err == nil) != loopback {
			t.Errorf("%q without keys: %v", addr, err)
		}
		if err := CheckListen([]string{addr}, true); err != nil {
			t.Errorf("%q with keys: %v", addr, err)
		}
	}
	if err := CheckListen([]string{"8000"}, true); err == nil || !strings.Contains(err.Error(), "expected HOST:PORT") {
		t.Errorf("got %v", err)
	}
}
