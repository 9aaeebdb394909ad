package flows

import (
	"context"
	"net/url"

	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
)

// deny refuses, with the organization's own sentence.
type deny struct{}

func (deny) Wants(_ policy.Effective, s State) (bool, []Reason, *fault.Error) {
	return false, []Reason{s.flowSays("The organization's sign-in flow refuses.")}, ErrDenied
}

// Ask and Take have no page of their own: a refusal is drawn by the engine.
func (deny) Ask(context.Context, *Turn) (Reply, error)     { return Reply{}, ErrDenied }
func (deny) Take(context.Context, *Turn, url.Values) error { return ErrOutOfOrder }
