package templatestest

import "testing"

func TestPages(t *testing.T) { Run(t, Pages()) }
