package salver_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/salver-ml/salver"
)

// A model in a server of one's own.
func ExampleHandler() {
	iris, err := salver.Open("internal/demo/models/iris.onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer iris.Close()
	h, err := salver.Handler(map[string]*salver.Session{"iris": iris})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/v2/", h)
	server := httptest.NewServer(mux) // or http.ListenAndServe("127.0.0.1:8000", mux)
	defer server.Close()

	resp, err := http.Post(server.URL+"/v2/models/iris/infer", "application/json", strings.NewReader(
		`{"inputs":[{"name":"measurements","shape":[1,4],"datatype":"FP32","data":[6.3,3.3,6.0,2.5]}],
		  "outputs":[{"name":"probabilities","parameters":{"classification":1}}]}`))
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, strings.Contains(string(body), `:2"]`))
	// Output:
	// 200 OK true
}

func TestHandler(t *testing.T) {
	m := open(t)
	if _, err := salver.Handler(map[string]*salver.Session{"../digits": m}); err == nil || !strings.Contains(err.Error(), "digits") {
		t.Errorf("a name with a path: %v", err)
	}
	h, err := salver.Handler(map[string]*salver.Session{"digits": m, "again": m})
	if err != nil {
		t.Fatal(err)
	}
	body := `{"inputs":[{"name":"image","shape":[1,1,28,28],"datatype":"FP32","data":[0` + strings.Repeat(",0", 783) + `]}]}`
	ask := func(path, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		method := "POST"
		if body == "" {
			method = "GET"
		}
		h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w
	}
	want := ask("/v2/models/digits/infer", body).Body.String()
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			name := []string{"digits", "again"}[i%2]
			if w := ask("/v2/models/"+name+"/infer", body); w.Code != 200 || strings.Replace(w.Body.String(), name, "digits", 1) != want {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	for path, code := range map[string]int{"/v2/models/digits": 200, "/v2/health/ready": 200, "/healthz": 200, "/v2/models/iris": 404, "/": 404, "/metrics": 404} {
		if w := ask(path, ""); w.Code != code {
			t.Errorf("%s: %d, expected %d", path, w.Code, code)
		}
	}
}
