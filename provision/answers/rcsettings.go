package answers

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// RocketChatSettingsKey is the answer that holds settings of Rocket.Chat. Followed by a
// dot and the ID of a setting, it names one of them.
const RocketChatSettingsKey = "rocketchat_settings"

// A RocketChatSetting is one setting of Rocket.Chat that the operator has decided.
type RocketChatSetting struct {
	ID    string
	Value string // as Rocket.Chat's environment has it: true, 5, text, or a list as JSON
}

// ForcedSettings are the settings of Rocket.Chat that the operator has decided, sorted.
func (a Answers) ForcedSettings() []RocketChatSetting {
	var out []RocketChatSetting
	values, _ := parseSettings(a.RocketChatSettings) // they were checked
	for _, id := range slices.Sorted(maps.Keys(values)) {
		text, ok := values[id].(string)
		if !ok {
			data, _ := json.Marshal(values[id]) // came from JSON
			text = string(data)
		}
		out = append(out, RocketChatSetting{id, text})
	}
	return out
}

var rocketchatSettingsField = Field{
	Key: RocketChatSettingsKey, Kind: Settings, Advanced: true, Secret: true, If: Answers.BundledRocketChat,
	Ask:  "Which settings of Rocket.Chat should always have a certain value?",
	Help: "IDs of Rocket.Chat's settings and their values: true or false, a whole number, text, or a list of texts. They are applied at every start; see docs/operate.md. One of them: appliance config set rocketchat_settings.Accounts_RegistrationForm=Disabled",
	Get:  func(a *Answers) string { return a.RocketChatSettings },
	Set: func(a *Answers, v string) error {
		values, err := parseSettings(v)
		if err == nil {
			a.RocketChatSettings = formatSettings(values)
		}
		return err
	},
	Check: func(v string) error {
		values, err := parseSettings(v)
		if err != nil {
			return err
		}
		for _, id := range slices.Sorted(maps.Keys(values)) {
			if err := checkSetting(id, values[id]); err != nil {
				return fmt.Errorf("has %s, which %w", id, err)
			}
		}
		return nil
	},
}

// parseSettings reads settings from YAML, of which JSON is a subset.
func parseSettings(text string) (map[string]any, error) {
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		return nil, errors.New("must be IDs and values, such as {Accounts_RegistrationForm: Disabled, FileUpload_MaxFileSize: 104857600}")
	}
	return values, nil
}

func formatSettings(values map[string]any) string {
	if len(values) == 0 {
		return ""
	}
	data, err := json.Marshal(values)
	if err != nil { // a value that JSON cannot represent: Check reports it
		return fmt.Sprint(values)
	}
	return string(data)
}

// withSetting returns settings with one changed; an empty value removes it.
func withSetting(text, id, value string) (string, error) {
	values, err := parseSettings(text)
	if err != nil {
		return "", err
	}
	if value == "" {
		delete(values, id)
		return formatSettings(values), nil
	}
	var typed any
	if err := yaml.Unmarshal([]byte(value), &typed); err != nil {
		typed = value
	}
	if _, isMap := typed.(map[string]any); isMap {
		typed = value // text with a colon in it
	}
	values[id] = typed
	return formatSettings(values), nil
}

var settingID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// ownedSettings are the settings that the appliance itself controls, by the prefix of
// their IDs, and where.
var ownedSettings = []struct{ prefix, where string }{
	{"SMTP_", "the answers smtp_*"}, {"From_Email", "the answer smtp_from"},
	{"Site_Url", "the answer domain"}, {"Show_Setup_Wizard", "the installation itself"}, {"uniqueID", "Rocket.Chat itself"},
	{"Cloud_Workspace_", "the registration of the workspace"},
	{"Federation_", "the bridge"}, {"DDP_Rate_Limit_User", "the bridge"}, {"DDP_Rate_Limit_Connection", "the bridge"},
	{"Message_AllowUnrecognizedSlashCommand", "the bridge"}, {"Accounts_SetDefaultAvatar", "the bridge"}, {"Message_ErasureType", "the bridge"},
	{"Accounts_TwoFactorAuthentication_By_Email_Auto_Opt_In", "the bridge"},
}

// checkSetting returns what is wrong with a setting as the end of a sentence.
func checkSetting(id string, value any) error {
	if !settingID.MatchString(id) {
		return errors.New("is not a setting ID: it has letters, digits and underscores, such as Accounts_RegistrationForm")
	}
	for _, o := range ownedSettings {
		if strings.HasPrefix(id, o.prefix) {
			return fmt.Errorf("is decided by %s", o.where)
		}
	}
	return checkSettingValue(value)
}

func checkSettingValue(value any) error {
	switch v := value.(type) {
	case bool, int, int64:
		return nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return nil
		}
		return errors.New("must be a whole number, if it is a number")
	case string:
		if v == "true" || v == "false" {
			return errors.New("would become a switch: write it without quotes")
		}
		return checkPlain(v)
	case []any:
		for _, one := range v {
			text, ok := one.(string)
			if !ok {
				return errors.New("must be a list of texts, if it is a list")
			}
			if err := checkPlain(text); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New("must be true or false, a whole number, text, or a list of texts")
}
