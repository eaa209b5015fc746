package doctor

import (
	"context"
	"errors"

	"appliance/provision/attach"
	"appliance/provision/finding"
	"appliance/provision/render"
)

// homeserver checks whether an external homeserver answers, knows the bridge and reaches it.
func (t Target) homeserver(ctx context.Context) finding.Finding {
	hs := t.Attached.Homeserver
	if err := hs.Reach(ctx); err != nil {
		return attachment(err)
	}
	asked, err := hs.Known(ctx)
	if err != nil {
		return attachment(err)
	}
	if !asked {
		return finding.Good("the homeserver at %s knows the registration", hs.URL)
	}
	return finding.Good("the homeserver at %s knows the registration and reaches the bridge", hs.URL)
}

// externalRocketChat checks an external Rocket.Chat.
func (t Target) externalRocketChat(ctx context.Context) finding.Finding {
	rc := t.Attached.RocketChat
	version, err := rc.Reach(ctx)
	if err != nil {
		return attachment(err)
	}
	differ, err := rc.Settings(ctx, render.NeededSettings)
	if err != nil {
		return attachment(err)
	}
	if len(differ) > 0 {
		return finding.Warning("Rocket.Chat has settings that the bridge does not expect", "it should have "+joined(differ), "see what to add to its environment with: appliance attach")
	}
	return finding.Good("Rocket.Chat %s answers at %s and knows the bridge's account", version, rc.URL)
}

func attachment(err error) finding.Finding {
	if e, ok := errors.AsType[*attach.Error](err); ok {
		return finding.Failure(e.Summary, e.Why, e.Fix)
	}
	return finding.Failure("a server cannot be checked", err.Error(), "try again")
}
