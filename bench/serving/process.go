package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// server is a running program with its addresses.
type server struct {
	name, http, grpc string
	process          *exec.Cmd
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// start runs a program, which gets its two addresses from args, on some
// processors of Linux ("0", "0,2-3") or on all ("").
func start(name, cpus, program string, args func(http, grpc string) []string) (*server, error) {
	h, err := freeAddress()
	if err != nil {
		return nil, err
	}
	g, err := freeAddress()
	if err != nil {
		return nil, err
	}
	command := append([]string{program}, args(h, g)...)
	if cpus != "" {
		command = append([]string{"taskset", "-c", cpus}, command...)
	}
	s := &server{name, h, g, exec.Command(command[0], command[1:]...)}
	s.process.Stderr = os.Stderr
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	return s, nil
}

// wait returns when the server answers at path.
func (s *server) wait(path string) error {
	for range 500 {
		resp, err := http.Post("http://"+s.http+path, "", nil)
		if err == nil {
			resp.Body.Close()
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%s does not answer", s.name)
}

func (s *server) stop() error {
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if s.name == "echo" { // which knows no end
		s.process.Wait()
		return nil
	}
	return s.process.Wait()
}

// cpu is what the server's process has used so far.
func (s *server) cpu() time.Duration {
	if s.process == nil {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process.Process.Pid))
	if err != nil {
		return 0
	}
	var pid, skip, user, system int64
	var name, state string
	if _, err := fmt.Sscan(string(b), &pid, &name, &state, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &system); err != nil {
		return 0
	}
	return time.Duration(user+system) * 10 * time.Millisecond // ticks of 1/100 s on linux
}

// ownCPU is what this process has used so far.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
