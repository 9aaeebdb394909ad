package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/password"
)

var errPasswordList = fault.New(fault.Invalid, "vestibule.password_list", "The list of passwords could not be made.")

var passwordCommands = []sub{
	{"list", "make a list of passwords that nobody may use, of files with one on each line", runPasswordsList},
}

func runPasswords(ctx context.Context, args []string, out, errs io.Writer) error {
	return runSub(ctx, "passwords", passwordCommands, args, out, errs)
}

const aboutPasswordsList = `It writes a file that serve reads (passwords.breached). FILEs have one password on each line, or one
SHA-1 of a password in hexadecimal, perhaps with a colon and how often it was seen behind it, as the files of
Have I Been Pwned have. "-" is the standard input. Passwords cannot be read out of a list.`

func runPasswordsList(_ context.Context, args []string, out, errs io.Writer) error {
	f := newFlags("passwords list", "FILE…", aboutPasswordsList, errs)
	to := f.String("o", "", "the `file` to write")
	m := password.ListMaker{}
	f.IntVar(&m.Least, "seen", 1, "leave out what the collection saw fewer times than `N`")
	files, err := parseAnywhere(f, args)
	if err != nil {
		return err
	}
	if *to == "" || len(files) == 0 {
		return misused(f, "Say which files to read, and with -o which one to write.")
	}
	for _, name := range files {
		if err := readWords(&m, name); err != nil {
			return errPasswordList.With(err)
		}
	}
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		return errPasswordList.With(err)
	}
	if err := os.WriteFile(*to, b.Bytes(), 0o644); err != nil {
		return errPasswordList.With(err)
	}
	fmt.Fprintf(out, "%s: %d passwords, %d kB.\n", *to, m.Len(), b.Len()/1000)
	return nil
}

func readWords(m *password.ListMaker, name string) error {
	if name == "-" {
		return m.Read(os.Stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return m.Read(file)
}
