package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// coldstart starts salver again and again and measures until its first answer.
func coldstart(o *options) error {
	var times []time.Duration
	for range o.runs {
		t, err := firstAnswer(o)
		if err != nil {
			return err
		}
		times = append(times, t)
	}
	slices.Sort(times)
	fmt.Printf("first answer after: median %v, least %v, most %v (%d runs)\n", micros(times[len(times)/2]), micros(times[0]), micros(times[len(times)-1]), len(times))
	return nil
}

func firstAnswer(o *options) (took time.Duration, err error) {
	address, err := freeAddress()
	if err != nil {
		return 0, err
	}
	args := []string{"serve", "--log-level", "error", "--http", address, "--grpc", ""}
	name, body := "digits", []byte(nil)
	if o.model == "" {
		args = append(args, "--demo")
		_, b, _ := bytes.Cut(httpRequest(false), headEnds)
		body = b
	} else {
		name = strings.TrimSuffix(filepath.Base(o.model), filepath.Ext(o.model))
		args = append(args, o.model)
	}
	begin := time.Now()
	p := exec.Command(o.salver, append(args, strings.Fields(o.flags)...)...)
	if err := p.Start(); err != nil {
		return 0, err
	}
	defer func() {
		p.Process.Signal(syscall.SIGTERM)
		p.Wait()
	}()
	url := "http://" + address + "/v2/models/" + name
	for time.Since(begin) < 10*time.Second {
		if body == nil {
			if body = zeros(url); body == nil {
				time.Sleep(time.Millisecond)
				continue
			}
		}
		resp, err := http.Post(url+"/infer", "application/json", bytes.NewReader(body))
		if err != nil || resp.StatusCode == http.StatusServiceUnavailable {
			if err == nil {
				resp.Body.Close()
			}
			time.Sleep(time.Millisecond)
			continue
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("%s: %s %s", url, resp.Status, text)
		}
		return time.Since(begin), nil
	}
	return 0, fmt.Errorf("%s does not answer within 10 s", url)
}

// zeros makes a request of zeros from a model's description; nil if the model
// is not ready.
func zeros(url string) []byte {
	resp, err := http.Get(url)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var md struct {
		Inputs []struct {
			Name     string `json:"name"`
			Datatype string `json:"datatype"`
			Shape    []int  `json:"shape"`
		} `json:"inputs"`
	}
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&md) != nil {
		return nil
	}
	inputs := []any{}
	for _, in := range md.Inputs {
		n := 1
		for i, d := range in.Shape {
			in.Shape[i] = max(d, 1)
			n *= in.Shape[i]
		}
		inputs = append(inputs, map[string]any{"name": in.Name, "datatype": in.Datatype, "shape": in.Shape, "data": make([]int, n)})
	}
	body, err := json.Marshal(map[string]any{"inputs": inputs})
	if err != nil {
		return nil
	}
	return body
}
