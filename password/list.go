package password

import (
	"bufio"
	"crypto/sha1"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strconv"
	"strings"
)

// List is passwords that must not be used, as a Bloom filter: it knows each of them, and takes one in ten
// thousand others for one of them. Passwords cannot be read out of it.
//
// Places in the filter are taken from the SHA-1 of a password, because that is how collections of leaked
// passwords are given away. It protects nothing here.
type List struct {
	from io.ReaderAt
	bits uint64
}

const (
	listMagic   = "VSTPWL1\n"
	listHeader  = len(listMagic) + 8 // then the number of bits, 64 bits big endian
	listHashes  = 14
	bitsPerWord = 20 // with 14 places each, 1 in 14,000 others is taken for one of them
)

// ErrList refuses a file that is no list.
var ErrList = errors.New("this is no list of passwords: make one with vestibule passwords list")

// OpenList opens a list that Write wrote. from is read where a password is looked for, and stays the
// caller's to close.
func OpenList(from io.ReaderAt, size int64) (*List, error) {
	head := make([]byte, listHeader)
	if _, err := from.ReadAt(head, 0); err != nil || string(head[:len(listMagic)]) != listMagic {
		return nil, ErrList
	}
	n := binary.BigEndian.Uint64(head[len(listMagic):])
	if n == 0 || n%8 != 0 || uint64(size) != uint64(listHeader)+n/8 {
		return nil, ErrList
	}
	return &List{from: from, bits: n}, nil
}

// Has says whether a password is in the list, as it is written or in small letters.
func (l *List) Has(p Prepared) (bool, error) {
	for _, text := range []string{string(p), strings.ToLower(string(p))} {
		has, err := l.has(sha1.Sum([]byte(text)))
		if has || err != nil {
			return has, err
		}
	}
	return false, nil
}

func (l *List) has(digest [sha1.Size]byte) (bool, error) {
	var b [1]byte
	for i := range uint64(listHashes) {
		at := place(digest, i, l.bits)
		if _, err := l.from.ReadAt(b[:], int64(listHeader)+int64(at/8)); err != nil {
			return false, err
		}
		if b[0]&(1<<(at%8)) == 0 {
			return false, nil
		}
	}
	return true, nil
}

// place is the i-th place of a digest (Kirsch and Mitzenmacher, "Less Hashing, Same Performance").
func place(digest [sha1.Size]byte, i, n uint64) uint64 {
	a, b := binary.BigEndian.Uint64(digest[0:]), binary.BigEndian.Uint64(digest[8:])|1
	hi, _ := bits.Mul64(a+i*b, n)
	return hi
}

// ListMaker collects passwords and writes a List of them.
type ListMaker struct {
	// Least is how often a leaked password must have been seen, where the collection says so.
	Least   int
	digests map[[sha1.Size]byte]bool
}

// Len is how many different passwords were collected.
func (m *ListMaker) Len() int { return len(m.digests) }

// Read takes one password from each line: a password as it is, taken in small letters; or the SHA-1 of one
// in hexadecimal, with or without a colon and how often it was seen (the form of Have I Been Pwned).
func (m *ListMaker) Read(r io.Reader) error {
	if m.digests == nil {
		m.digests = make(map[[sha1.Size]byte]bool)
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		digest, seen, hashed := hashedLine(line)
		switch {
		case line == "" || hashed && seen < m.Least:
		case hashed:
			m.digests[digest] = true
		default:
			m.add(line)
		}
	}
	return lines.Err()
}

func (m *ListMaker) add(line string) {
	if p, err := Prepare(line); err == nil { // what cannot be a password need not be forbidden
		m.digests[sha1.Sum([]byte(strings.ToLower(string(p))))] = true
	}
}

func hashedLine(line string) (digest [sha1.Size]byte, seen int, ok bool) {
	text, count, counted := strings.Cut(line, ":")
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != sha1.Size {
		return digest, 0, false
	}
	seen = 1
	if counted {
		if seen, err = strconv.Atoi(count); err != nil {
			return digest, 0, false
		}
	}
	return [sha1.Size]byte(b), seen, true
}

// Write writes the list: the same passwords give the same bytes.
func (m *ListMaker) Write(w io.Writer) error {
	if m.Len() == 0 {
		return fmt.Errorf("there is no password to make a list of")
	}
	n := (uint64(m.Len())*bitsPerWord + 63) / 64 * 64
	set := make([]byte, n/8)
	for digest := range m.digests {
		for i := range uint64(listHashes) {
			at := place(digest, i, n)
			set[at/8] |= 1 << (at % 8)
		}
	}
	head := binary.BigEndian.AppendUint64([]byte(listMagic), n)
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(set)
	return err
}

// common.list is the passwords that people use most, of several leaks: docs/passwords.md says which.
//
//go:embed common.list
var common string

// Common is the list that comes with the program.
func Common() *List {
	l, err := OpenList(strings.NewReader(common), int64(len(common)))
	if err != nil {
		panic("password: common.list: " + err.Error()) // a broken build
	}
	return l
}
