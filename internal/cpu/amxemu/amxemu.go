//go:build amxemu && linux && amd64

package amxemu

/*
#cgo CFLAGS: -O3
void amxemu_install(void);
*/
import "C"

// Install takes over SIGILL for the rest of the process. What is no instruction
// of AMX goes to the handler of Go's runtime as before.
func Install() { C.amxemu_install() }
