package bridge

import (
	"context"
	"errors"
	"fmt"

	"appliance/bridge/config"
	"appliance/bridge/config/configfile"
	"appliance/bridge/console"
)

// consoleSettings reads and changes the live keys in the file itself, so that the file
// always matches what is in force.
type consoleSettings struct{ *service }

// Settings implements console.Settings.
func (c consoleSettings) Settings(context.Context) (console.SettingsFile, error) {
	out := console.SettingsFile{Name: c.ConfigFile}
	live := c.current.Load().Live
	data, err := configfile.Read(c.ConfigFile)
	if err == nil {
		out.Hash = configfile.Hash(data)
		var cfg config.Config
		if cfg, err = config.Parse(c.ConfigFile, data); err == nil {
			live = cfg.Live
		}
	}
	if err != nil {
		out.Problem = err.Error()
	}
	if err := configfile.Writable(c.ConfigFile); err != nil {
		out.ReadOnly = err.Error()
	}
	values := live.Texts()
	for _, k := range config.LiveKeys() {
		out.Settings = append(out.Settings, console.Setting{Name: k.Name, Help: k.Help, Value: values[k.Name], Choices: k.Choices, List: k.List, Number: k.Number})
	}
	return out, nil
}

// Propose implements console.Settings.
func (c consoleSettings) Propose(_ context.Context, values map[string]string) (was, now []byte, err error) {
	was, err = configfile.Read(c.ConfigFile)
	if err != nil {
		return nil, nil, err
	}
	now, _, err = config.Set(c.ConfigFile, was, values)
	return was, now, settingsError(err)
}

// settingsError reports which values cannot be used.
func settingsError(err error) error {
	invalid, ok := errors.AsType[*config.InvalidError](err)
	if !ok {
		return err
	}
	out := &console.InvalidSettingsError{}
	for _, p := range invalid.Problems {
		out.Problems = append(out.Problems, console.SettingProblem{Key: p.Key, Reason: p.Reason})
	}
	return out
}

// Save implements console.Settings.
func (c consoleSettings) Save(ctx context.Context, hash string, values map[string]string) (changed []string, err error) {
	data, err := configfile.Read(c.ConfigFile)
	if err != nil {
		return nil, err
	}
	if configfile.Hash(data) != hash {
		return nil, fmt.Errorf("%s: %w", c.ConfigFile, console.ErrSettingsChanged)
	}
	out, changed, err := config.Set(c.ConfigFile, data, values)
	if err != nil || len(changed) == 0 {
		return nil, settingsError(err)
	}
	if err := configfile.Save(c.ConfigFile, hash, out); errors.Is(err, configfile.ErrChanged) {
		return nil, fmt.Errorf("%w: %w", console.ErrSettingsChanged, err)
	} else if err != nil {
		return nil, err
	}
	c.reload()
	if why := c.refused.Load(); why != nil {
		return nil, errors.New(*why)
	}
	return changed, ctx.Err()
}
