package command

import (
	"context"
	"fmt"
	"strings"

	"appliance/bridge/config"
	"appliance/bridge/ids"
)

const meUsage = "/bridge me @name:example.org, or /bridge me off"

// me is /bridge me: the caller also has an account on Matrix, whose messages should
// appear as the caller's own. Anyone who may open direct messages with people on Matrix
// may request it; the Matrix account has to confirm it.
func (c *Commands) me(ctx context.Context, r request, words []string) error {
	if len(words) == 0 {
		return c.meNow(ctx, r)
	}
	if len(words) == 1 && strings.EqualFold(words[0], "off") {
		user, ok, err := c.Bridge.TakeBack(ctx, personOf(r.user).ID, "at the account owner's request")
		if err != nil {
			return err
		}
		if !ok {
			return c.tell(ctx, r, "Nobody on Matrix writes with your account.")
		}
		return c.tell(ctx, r, fmt.Sprintf("%s no longer writes with your account. Messages already written stay yours.", user))
	}
	target, err := oneAddress(meUsage, words)
	if err != nil {
		return err
	}
	if !config.Holds(c.Live().Permissions.Direct, r.user.Roles...) {
		return sayf("the administrator does not let you talk with people on Matrix")
	}
	code, err := c.Bridge.LendTo(ctx, personOf(r.user), target)
	if err != nil {
		return err
	}
	return c.tell(ctx, r, HowToLink(target, code))
}

// HowToLink returns instructions for the owner of an account on how to use a code.
func HowToLink(target ids.MXUser, code string) string {
	return fmt.Sprintf("Is %s you? Then send this from there within ten minutes, in any room that is connected with this Rocket.Chat, preferably in a direct message to yourself:\n```\n!link %s\n```\n"+
		"From then on what %s writes on Matrix appears here under your name. Do not show the code to anybody else, and never send a code that another person gives you.", target, code, target)
}

// meNow tells the caller who writes with their account.
func (c *Commands) meNow(ctx context.Context, r request) error {
	user, ok, err := c.Bridge.LentTo(ctx, personOf(r.user).ID)
	if err != nil {
		return err
	}
	if !ok {
		return c.tell(ctx, r, "Nobody on Matrix writes with your account. To link your own account there: "+meUsage)
	}
	return c.tell(ctx, r, fmt.Sprintf("%s on Matrix writes with your account; /bridge me off ends that.", user))
}
