package templatestest

import "testing"

func TestPages(t *testing.T) { Run(t, Pages()) }

func TestLetters(t *testing.T) { RunLetters(t, Letters()) }
