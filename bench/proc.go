package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is USER_HZ, in which Linux tells processor time on every architecture that Go knows.
const tick = 10 * time.Millisecond

// stat reads a process's parent and the processor time of it and of its children that ended.
func stat(pid int) (parent int, used time.Duration, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("processor time is read from /proc: %w", err)
	}
	f := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:])) // the name may hold anything
	if len(f) < 15 {
		return 0, 0, fmt.Errorf("/proc/%d/stat cannot be read", pid)
	}
	parent, _ = strconv.Atoi(f[1])
	for _, field := range f[11:15] {
		n, _ := strconv.Atoi(field)
		used += time.Duration(n) * tick
	}
	return parent, used, nil
}

// processor is the time that a process and all below it have used; 0 is no process.
func processor(root int) (time.Duration, error) {
	if root == 0 {
		return 0, nil
	}
	_, sum, err := stat(root)
	if err != nil {
		return 0, err
	}
	entries, _ := filepath.Glob("/proc/[0-9]*")
	below, time := map[int][]int{}, map[int]time.Duration{}
	for _, e := range entries {
		pid, _ := strconv.Atoi(filepath.Base(e))
		if parent, used, err := stat(pid); err == nil { // it may have ended
			below[parent], time[pid] = append(below[parent], pid), used
		}
	}
	for todo := slices.Clone(below[root]); len(todo) > 0; todo = todo[1:] {
		sum += time[todo[0]]
		todo = append(todo, below[todo[0]]...)
	}
	return sum, nil
}

// resident is how much memory a process has, and the most that it had, in bytes.
func resident(pid int) (now, peak int64, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			now = n << 10
		case "VmHWM:":
			peak = n << 10
		}
	}
	return now, peak, nil
}

// signatures are what this machine's processor needs, just now, for one ES256 signature and its check: a
// busy or slow machine shows here, and the other figures can be seen in its light.
func signatures() (time.Duration, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	digest := sha256.Sum256([]byte("measured"))
	const rounds = 2000
	before, err := thread()
	if err != nil {
		return 0, err
	}
	for range rounds {
		signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
		if err != nil {
			return 0, err
		}
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			return 0, errors.New("a signature does not hold")
		}
	}
	after, err := thread()
	return (after - before) / rounds, err
}

// thread is the processor time of the calling thread (RUSAGE_THREAD of Linux).
func thread() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(1, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}
