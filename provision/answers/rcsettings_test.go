package answers_test

import (
	"strings"
	"testing"

	"appliance/provision/answers"
	"appliance/provision/render"
)

func settingsOf(t *testing.T, file string) (answers.Answers, error) {
	t.Helper()
	return answers.Parse("appliance.yaml", []byte("domain: chat.example.org\n"+file))
}

func TestSettingsOfRocketChatKeepTheirTypes(t *testing.T) {
	a, err := settingsOf(t, `rocketchat_settings:
  Accounts_RegistrationForm: Disabled
  FileUpload_MaxFileSize: 1048576
  Message_AllowEditing: false
  Hide_System_Messages: [uj, ul]
  Site_Name: 'A "name", 5 #'
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []answers.RocketChatSetting{
		{ID: "Accounts_RegistrationForm", Value: "Disabled"}, {ID: "FileUpload_MaxFileSize", Value: "1048576"},
		{ID: "Hide_System_Messages", Value: `["uj","ul"]`}, {ID: "Message_AllowEditing", Value: "false"}, {ID: "Site_Name", Value: `A "name", 5 #`},
	}
	check := func(a answers.Answers) {
		t.Helper()
		got := a.ForcedSettings()
		if len(got) != len(want) {
			t.Fatalf("%v", got)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%v, want %v", got[i], want[i])
			}
		}
	}
	check(a)
	again, err := answers.Parse("appliance.yaml", a.Marshal("up"))
	if err != nil {
		t.Fatalf("%v\n%s", err, a.Marshal("up"))
	}
	check(again)
	if text := string(a.Marshal("up")); !strings.Contains(text, "\n    Message_AllowEditing: false\n") || strings.Contains(text, "1.048576e") {
		t.Errorf("%s", text)
	}
}

func TestSettingsThatCannotBeSaidAreRefused(t *testing.T) {
	for file, want := range map[string]string{
		"rocketchat_settings: {SMTP_Host: x}":                                                "has SMTP_Host, which is decided by the answers smtp_*",
		"rocketchat_settings: {Site_Url: x}":                                                 "has Site_Url, which is decided by the answer domain",
		"rocketchat_settings: {DDP_Rate_Limit_User_Enabled: true}":                           "which is decided by the bridge",
		"rocketchat_settings: {Federation_Matrix_enabled: true}":                             "which is decided by the bridge",
		"rocketchat_settings: {A B: true}":                                                   "is not a setting ID",
		"rocketchat_settings: {API_Embed: 'true'}":                                           "would become a switch: write it without quotes",
		"rocketchat_settings: {API_Default_Count: 1.5}":                                      "must be a whole number",
		"rocketchat_settings: {API_Default_Count: }":                                         "must be true or false, a whole number, text, or a list of texts",
		"rocketchat_settings: {Hide_System_Messages: [1]}":                                   "must be a list of texts",
		"rocketchat_settings: {Hide_System_Messages: {a: b}}":                                "must be true or false",
		"rocketchat_settings: {Site_Name: \"a'b\"}":                                          "must not contain quotes",
		"rocketchat_settings: [Site_Name]":                                                   "must be a single value",
		"rocketchat_settings: hello":                                                         "must be IDs and values",
		"rocketchat_settings: {Accounts_TwoFactorAuthentication_By_Email_Auto_Opt_In: true}": "which is decided by the bridge",
	} {
		if _, err := settingsOf(t, file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}

func TestOneSettingIsChangedByItsName(t *testing.T) {
	d := answers.NewDraft()
	for _, set := range []string{
		"domain=chat.example.org", "rocketchat_settings={API_Embed: false}", "rocketchat_settings.Site_Name=Our: chat",
		"rocketchat_settings.API_Default_Count=20", "rocketchat_settings.Hide_System_Messages=[uj]", "rocketchat_settings.API_Embed=",
	} {
		d.Assign(set)
	}
	a, err := d.Finish()
	if err != nil || a.RocketChatSettings != `{"API_Default_Count":20,"Hide_System_Messages":["uj"],"Site_Name":"Our: chat"}` {
		t.Errorf("%v: %s", err, a.RocketChatSettings)
	}
}

// Settings that the installation enforces are refused as answers, also those added later.
func TestWhatTheInstallationForcesIsNoAnswer(t *testing.T) {
	for _, s := range append(render.NeededSettings, [2]string{"Show_Setup_Wizard", ""}) {
		if _, err := settingsOf(t, "rocketchat_settings: {"+s[0]+": 7}"); err == nil || !strings.Contains(err.Error(), "is decided by") {
			t.Errorf("%s: %v", s[0], err)
		}
	}
}
