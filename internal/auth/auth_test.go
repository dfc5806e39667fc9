package auth

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
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

func TestCheck(t *testing.T) {
	k := load(t, good)
	for secret, want := range map[string]string{"a-long-enough-key-1": "alice", "another-long-enough-key": "line-4", "": "", "alice": "", "alice:a-long-enough-key-1": "", "a-long-enough-key-": "", "# people": ""} {
		if name, ok := k.Check(secret); name != want || ok != (want != "") {
			t.Errorf("%q: %q %v", secret, name, ok)
		}
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
	if _, ok := k.Check("first-key"); ok {
		t.Error("the old key is still good")
	}
	if err := replace(""); err == nil {
		t.Error("an empty file was taken")
	}
	if name, ok := k.Check("second-key"); !ok || name != "b" {
		t.Error("a failed reload lost the keys")
	}
}

func TestHTTP(t *testing.T) {
	public := func(r *http.Request) bool { return r.URL.Path == "/live" }
	var saw string
	h := load(t, good).HTTP(public, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { saw = Name(r.Context()) }))
	tests := []struct {
		path   string
		header http.Header
		status int
		name   string
	}{
		{"/live", nil, 200, ""},
		{"/", nil, 401, ""},
		{"/live/..", nil, 401, ""},
		{"/", http.Header{"Authorization": {"Bearer a-long-enough-key-1"}}, 200, "alice"},
		{"/", http.Header{"Authorization": {"bearer  another-long-enough-key"}}, 200, "line-4"},
		{"/", http.Header{"X-Api-Key": {"another-long-enough-key"}}, 200, "line-4"},
		{"/", http.Header{"Authorization": {"Bearer wrong"}}, 401, ""},
		{"/", http.Header{"Authorization": {"Bearer "}}, 401, ""},
		{"/", http.Header{"Authorization": {"Basic YTpi"}, "X-Api-Key": {"another-long-enough-key"}}, 401, ""},
		{"/", http.Header{"X-Api-Key": {"wrong", "another-long-enough-key"}}, 401, ""},
	}
	for _, tt := range tests {
		saw = ""
		r := httptest.NewRequest("GET", tt.path, nil)
		r.Header = tt.header
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.status || saw != tt.name {
			t.Errorf("%s %v: status %d, name %q", tt.path, tt.header, w.Code, saw)
		}
		if tt.status == 401 && (w.Header().Get("WWW-Authenticate") != "Bearer" || !strings.Contains(w.Body.String(), `{"error":`)) {
			t.Errorf("%s: %v %s", tt.path, w.Header(), w.Body)
		}
	}
	var none *Keys
	if name, err := none.Allow(nil, nil); name != "" || err != nil {
		t.Errorf("without keys: %q %v", name, err)
	}
}

func TestLocal(t *testing.T) {
	h := Local(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	tests := []struct {
		method, host, origin string
		status               int
	}{
		{"GET", "127.0.0.1:8000", "", 200},
		{"GET", "[::1]:8000", "", 200},
		{"GET", "localhost", "", 200},
		{"POST", "localhost:8000", "", 200},
		{"POST", "localhost:8000", "http://localhost:8000", 200},
		{"POST", "localhost:8000", "https://evil.example", 403},
		{"GET", "evil.example:8000", "", 403},
		{"POST", "evil.example", "http://evil.example", 403},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(tt.method, "/", nil)
		r.Host = tt.host
		if tt.origin != "" {
			r.Header.Set("Origin", tt.origin)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%+v: status %d", tt, w.Code)
		}
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
