package bridge

import (
	"context"
	"fmt"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/store"
)

// namespaceCursor stores which Matrix users stand for Rocket.Chat users.
const namespaceCursor = "namespace"

// namespace returns the part of the homeserver's users that a configuration assigns to the bridge.
func namespace(f config.Fixed) ids.Namespace {
	names := ids.Namespace{Server: f.Homeserver.Domain, Bot: f.AppService.Bot}
	if f.Namespace == "prefixed" {
		names.Prefix = f.GhostPrefix
	}
	return names
}

// keepNamespace stores the namespace at the first start and refuses a different one
// later: the rooms would have users that belong to no one.
func keepNamespace(ctx context.Context, s *store.Store, names ids.Namespace) error {
	now := "@" + names.Prefix + "*:" + names.Server
	was, err := s.Cursor(ctx, namespaceCursor)
	switch {
	case err != nil:
		return err
	case was == "":
		return s.MoveCursor(ctx, namespaceCursor, now)
	case was != now:
		return fmt.Errorf("namespace, ghost_prefix and homeserver.domain cannot change after the first start: the users of Rocket.Chat are %s on Matrix and would become %s; put the earlier values back into bridge.yaml", was, now)
	}
	return nil
}
