package demo

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream/saml"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	ErrDirectory = fault.New(fault.Unavailable, "demo.directory", "The data directory cannot be used. Make it exist and writable for you, name another one with -data, or leave -data out.")
	// ErrNotDemo keeps made-up providers, which vouch for anybody, out of a database that is not made up.
	ErrNotDemo = fault.New(fault.Conflict, "demo.not_a_demo", "This directory holds a database that no demonstration made. Name an empty directory with -data.")
	ErrFile    = fault.New(fault.Invalid, "demo.file", "The file demo.json in the data directory cannot be read. Name an empty directory with -data.")
)

// fileName marks a data directory as a demonstration's.
const fileName = "demo.json"

// kept is what the world keeps between starts besides the database: where its providers and apps
// listen, what they sign with, and the secrets that they share with the house. It protects nothing real.
type kept struct {
	About   string            `json:"about"`
	Ports   map[string]int    `json:"ports"`
	Keys    map[string]string `json:"keys"`
	Secrets map[string]string `json:"secrets"`
}

const about = "The made-up world of `vestibule demo`. Whoever has this file can sign in as anybody in it, and nowhere else."

func readKept(dir string) (*kept, error) {
	k := &kept{About: about, Ports: map[string]int{}, Keys: map[string]string{}, Secrets: map[string]string{}}
	raw, err := os.ReadFile(filepath.Join(dir, fileName))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, "vestibule.db")); err == nil {
			return nil, ErrNotDemo.Because(dir)
		}
		return k, nil
	}
	if err != nil {
		return nil, ErrDirectory.With(err)
	}
	if err := json.Unmarshal(raw, k); err != nil {
		return nil, ErrFile.With(err)
	}
	return k, nil
}

// Keeps says whether a directory holds a demonstration, whose providers vouch for anybody (S54).
func Keeps(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, fileName))
	return err == nil
}

// save writes the file as a whole or not at all.
func (k *kept) save(dir string) error {
	raw, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ErrDirectory.With(err)
	}
	f, err := os.CreateTemp(dir, "."+fileName+"-*") // only its owner may read it
	if err != nil {
		return ErrDirectory.With(err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(raw, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return ErrDirectory.With(err)
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, fileName)); err != nil {
		return ErrDirectory.With(err)
	}
	return nil
}

// fillKept makes the keys and secrets that are not there yet.
func (w *World) fillKept() error {
	for _, c := range cast() {
		if c.idp == "" {
			continue
		}
		if err := w.keepCompany(c); err != nil {
			return err
		}
	}
	for _, handle := range []string{payments, yourApp} {
		w.kept.secret(handle, directory.NewSecret)
	}
	return nil
}

// keepCompany makes what a company's provider signs with, and what proves the house to it.
func (w *World) keepCompany(c *company) error {
	if w.kept.Keys[c.handle] == "" {
		key, err := fakeidp.NewKey("ES256", w.now())
		if err != nil {
			return err
		}
		text, err := key.PEM()
		if err != nil {
			return err
		}
		w.kept.Keys[c.handle] = string(text)
	}
	if c.kind == fakeidp.OIDC {
		w.kept.secret(c.handle, directory.NewSecret)
		return nil
	}
	if w.kept.Secrets[c.handle] != "" {
		return nil
	}
	secret, err := samlSecret(w.now())
	w.kept.Secrets[c.handle] = secret
	return err
}

func (k *kept) secret(handle string, make func() string) {
	if k.Secrets[handle] == "" {
		k.Secrets[handle] = make()
	}
}

// samlSecret is what saml.NewSecret makes without the RSA key for signing, which takes a while to make
// and which this world has no use for.
func samlSecret(now time.Time) (string, error) {
	signing, err := saml.NewKeyPair(rand.Reader, now, "Vestibule", "ES256")
	if err != nil {
		return "", err
	}
	encryption, err := saml.NewKeyPair(rand.Reader, now, "Vestibule", "RS256")
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal(saml.Secret{Signing: []saml.KeyPair{signing}, Encryption: []saml.KeyPair{encryption}})
	return string(raw), err
}
