package obs

import (
	"bytes"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Fields of /proc/self/stat behind the program's name (proc_pid_stat(5)), from 0.
const (
	statUser   = 11
	statSystem = 12
	statStart  = 19
	statVSize  = 20
	statRSS    = 21
)

// ticks is how many of the kernel's ticks a second has in /proc, on all architectures of today.
const ticks = 100

// system adds what the kernel knows of the process.
func (o exposition) system() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		o.send(mostFiles, float64(limit.Cur))
	}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		o.send(openFiles, float64(len(files)-1)) // one is the folder's own
	}
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= statRSS {
		return
	}
	field := func(i int) float64 {
		v, err := strconv.ParseFloat(string(fields[i]), 64)
		if err != nil {
			return math.NaN()
		}
		return v
	}
	o.send(cpuSeconds, (field(statUser)+field(statSystem))/ticks)
	o.send(virtualMem, field(statVSize))
	o.send(residentMem, field(statRSS)*float64(os.Getpagesize()))
	if boot, ok := bootTime(); ok {
		o.send(startTime, boot+field(statStart)/ticks)
	}
}

// bootTime is when the system started, in seconds of the epoch.
func bootTime() (float64, bool) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
	}
	_, rest, found := bytes.Cut(stat, []byte("\nbtime "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	v, err := strconv.ParseFloat(string(line), 64)
	return v, found && err == nil
}
