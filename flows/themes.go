package flows

import (
	"context"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/themes"
)

// Themes keeps what each organization set of its look; reading one that set nothing gives the zero
// Theme. The document is stored as it is and merged with its ancestors' when shown.
type Themes interface {
	Theme(ctx context.Context, org directory.OrgID) (themes.Theme, error)
	PutTheme(ctx context.Context, org directory.OrgID, t themes.Theme) error
}
