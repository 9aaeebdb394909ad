package pgtest

import "syscall"

// attributes let a server end with the tests that started it, however they end.
func attributes(as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGQUIT}
}
