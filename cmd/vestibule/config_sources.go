package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/yamlfile"
)

// What a configuration file and a file with one secret may weigh.
const (
	maxConfig = 256 << 10
	maxSecret = 64 << 10
)

// source is one value with the place that gave it: "vestibule.yaml:3:9", "VESTIBULE_ISSUER", "--issuer".
type source struct{ value, at string }

// readSettings reads the YAML file, the environment and the flags over the defaults. All that is wrong is
// said at once, a line each.
func readSettings(file string, flags map[string]string, environ []string) (*settings, error) {
	s := defaults()
	var wrongs []string
	say := func(err error) {
		if err != nil {
			wrongs = append(wrongs, strings.Split(fault.Of(err).Public, "\n")...)
		}
	}
	env, err := s.environment(environ)
	say(err)
	from := "--config"
	if file == "" {
		file, from = env["config"].value, env["config"].at
	}
	values, err := s.file(file, from)
	say(err)
	for _, o := range options {
		if v, ok := env[o.key]; ok {
			values[o.key] = v
		}
		if v, ok := flags[o.key]; ok {
			values[o.key] = source{v, "--" + o.flag()}
		}
		v, ok := values[o.key]
		if !ok || v.value == "" {
			continue
		}
		s.given[o.key] = v.at
		if err := o.set(s, v.value); err != nil {
			wrongs = append(wrongs, v.at+": "+err.Error()+".")
		}
	}
	if len(wrongs) == 0 {
		say(s.complete())
	}
	if len(wrongs) > 0 {
		return nil, wrong(errSettings, "%s", strings.Join(wrongs, "\n"))
	}
	return s, nil
}

// linked are the variables that Kubernetes and container links set for a service called vestibule.
var linked = regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$`)

// environment gives what the environment says, by key. Variables that nothing is called by are refused:
// a setting that is spelled wrongly must not be silently off.
func (s *settings) environment(environ []string) (map[string]source, error) {
	known := map[string]string{envPrefix + "CONFIG": "config"}
	files := map[string]string{}
	for _, o := range options {
		known[o.env()] = o.key
		if o.secret && o.key != "key" { // VESTIBULE_KEY_FILE is the setting key_file
			files[o.env()+"_FILE"] = o.key
		}
	}
	out := map[string]source{}
	var wrongs []string
	for _, line := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, envPrefix) || value == "" || strings.HasPrefix(name, envPrefix+"TEST_") {
			continue
		}
		key, file := known[name], files[name]
		var err error
		switch {
		case key != "":
		case file != "":
			key = file
			value, err = s.secret(value)
		case linked.MatchString(name):
			continue
		default:
			wrongs = append(wrongs, unknownVariable(name, known, files))
			continue
		}
		if err != nil {
			wrongs = append(wrongs, name+": "+err.Error())
			continue
		}
		if twice, ok := out[key]; ok {
			wrongs = append(wrongs, fmt.Sprintf("%s and %s say the same thing. Keep one of them.", twice.at, name))
			continue
		}
		out[key] = source{value, name}
	}
	if len(wrongs) > 0 {
		return out, wrong(errSettings, "%s", strings.Join(wrongs, "\n"))
	}
	return out, nil
}

func unknownVariable(name string, known, files map[string]string) string {
	var names []string
	for n := range known {
		names = append(names, n)
	}
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	said := name + ": there is no such setting."
	if near := yamlfile.Nearest(name, names); near != "" {
		return said + " Did you mean " + near + "?"
	}
	return said + " `vestibule serve -h` lists those there are; variables of other programs must not begin with " + envPrefix + "."
}

// secret reads a file that holds one value. Its text never stands in an error.
func (s *settings) secret(path string) (string, error) {
	raw, note, err := readSecret(path)
	if note != "" {
		s.notes = append(s.notes, note)
	}
	return raw, err
}

// readSecret reads a file that holds one secret, without the line break at its end. Who may write it may
// put in their own, so that is refused; who may read it is told to the operator.
func readSecret(path string) (value, note string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", "", unreadable(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", "", unreadable(path, err)
	case !info.Mode().IsRegular():
		return "", "", fmt.Errorf("%s is not a file", path)
	case info.Mode().Perm()&0o022 != 0:
		return "", "", fmt.Errorf("%s can be written by others than its owner (%s). Run: chmod 600 %s", path, info.Mode().Perm(), path)
	case info.Mode().Perm()&0o004 != 0:
		note = fmt.Sprintf("Everybody on this machine may read the secret in %s. If that is not meant, run: chmod 600 %s", path, path)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", "", unreadable(path, err)
	}
	value = strings.TrimRight(string(raw), "\r\n")
	switch {
	case len(raw) > maxSecret:
		return "", "", fmt.Errorf("%s is too large to hold one secret", path)
	case value == "":
		return "", "", fmt.Errorf("%s is empty", path)
	}
	return value, note, nil
}

// unreadable says why a file cannot be read, in words.
func unreadable(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no file %s", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be read by the user that runs this", path)
	}
	return fmt.Errorf("%s cannot be read: %w", path, err)
}

// file gives what the YAML file says, by key.
func (s *settings) file(path, from string) (map[string]source, error) {
	out := map[string]source{}
	if path == "" {
		return out, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return out, wrong(errSettings, "%s: %v.", from, unreadable(path, err))
	}
	defer f.Close()
	docs, err := yamlfile.Parse(path, f, maxConfig)
	if err != nil {
		if problems, ok := errors.AsType[yamlfile.Problems](err); ok {
			return out, wrong(errSettings, "%s", problems)
		}
		return out, wrong(errSettings, "%s: %v.", from, unreadable(path, err))
	}
	if len(docs) > 1 {
		return out, wrong(errSettings, "%s: A configuration file has one document. What apply reads is another kind of file.", docs[1].At())
	}
	r := &yamlfile.Reader{}
	for _, d := range docs {
		readKeys(r, d, out)
	}
	if err := r.Err(); err != nil {
		return out, wrong(errSettings, "%s", err)
	}
	if err := s.safeToHoldSecrets(f, out); err != nil {
		return out, err
	}
	return out, nil
}

// safeToHoldSecrets judges a configuration file with a password in it as a file with a secret.
func (s *settings) safeToHoldSecrets(f *os.File, values map[string]source) error {
	for _, o := range options {
		if v, ok := values[o.key]; ok && o.secret && (o.hidden || passworded(v.value)) {
			_, note, err := readSecret(f.Name())
			if err != nil {
				return wrong(errSettings, "%s: there is a password here, and %v.", v.at, err)
			}
			if note != "" {
				s.notes = append(s.notes, note)
			}
			return nil
		}
	}
	return nil
}

// readKeys reads the keys, those with a dot as maps in maps.
func readKeys(r *yamlfile.Reader, v yamlfile.Value, out map[string]source) {
	groups := map[string]map[string]func(yamlfile.Value){}
	top := map[string]func(yamlfile.Value){}
	for _, o := range options {
		read := func(v yamlfile.Value) {
			if !v.Null() {
				out[o.key] = source{strings.Join(r.Texts(v), ","), v.At()}
			}
		}
		group, key, nested := strings.Cut(o.key, ".")
		if !nested {
			top[o.key] = read
			continue
		}
		if groups[group] == nil {
			fields := map[string]func(yamlfile.Value){}
			groups[group] = fields
			top[group] = func(v yamlfile.Value) {
				if !v.Null() {
					r.Fields(v, fields)
				}
			}
		}
		groups[group][key] = read
	}
	r.Fields(v, top)
}
