package sim

import (
	"slices"
	"strings"
)

// defaults are the settings the simulator knows, with Rocket.Chat's defaults
// (facts 2 to 10). Those in privateSettings are hidden from most users.
var defaults = map[string]any{
	"Site_Url": "", "Site_Name": "Rocket.Chat", "Language": "", "Show_Setup_Wizard": "pending", "uniqueID": "",
	"Accounts_LoginExpiration": 90, "Accounts_RegistrationForm": "Public", "Accounts_EmailVerification": false,
	"Accounts_TwoFactorAuthentication_Enabled":                   true,
	"Accounts_TwoFactorAuthentication_Enforce_Password_Fallback": true,
	"Accounts_TwoFactorAuthentication_RememberFor":               1800,
	"Accounts_TwoFactorAuthentication_By_Email_Auto_Opt_In":      true,
	"Accounts_TwoFactorAuthentication_By_Email_Enabled":          true,
	"Accounts_SetDefaultAvatar":                                  true, "Accounts_AllowUserAvatarChange": true,
	"Accounts_AllowUserProfileChange": true, "Accounts_AllowRealNameChange": true, "Accounts_AllowUsernameChange": true,
	"Accounts_AllowUserStatusMessageChange": true, "Accounts_AllowEmailChange": true, "Accounts_AllowPasswordChange": true,
	"Accounts_AvatarBlockUnauthenticatedAccess": true, "Accounts_AvatarResize": true, "Accounts_AvatarSize": 200, "Accounts_AllowedDomainsList": "", "Accounts_BlockedUsernameList": "",
	"Accounts_CustomFields": "", "Accounts_AllowInvisibleStatusOption": true,
	"UTF8_User_Names_Validation": "[0-9a-zA-Z-_.]+", "UTF8_Channel_Names_Validation": "[0-9a-zA-Z-_.]+",
	"UI_Allow_room_names_with_special_chars": false, "UI_Use_Real_Name": false,
	"API_Upper_Count_Limit": 100, "API_Default_Count": 50, "API_Allow_Infinite_Count": true,
	"API_Enable_Rate_Limiter": true, "API_Enable_Rate_Limiter_Dev": true,
	"API_Enable_Rate_Limiter_Limit_Calls_Default": 10, "API_Enable_Rate_Limiter_Limit_Time_Default": 60000,
	"API_Embed": true, "Rate_Limiter_Limit_RegisterUser": 1,
	"Message_MaxAllowedSize": 5000, "Message_AllowEditing": true, "Message_AllowDeleting": true,
	"Message_AllowEditing_BlockEditInMinutes": 0, "Message_AllowDeleting_BlockDeleteInMinutes": 0,
	"Message_AllowUnrecognizedSlashCommand": false, "Message_ErasureType": "Delete", "Message_KeepHistory": false,
	"Message_ShowDeletedStatus": false, "Message_AllowPinning": true, "Message_AllowStarring": true,
	"Message_CustomFields_Enabled": false, "Message_CustomFields": "", "Message_QuoteChainLimit": 2,
	"Hide_System_Messages": []any{}, "Threads_enabled": true, "Discussion_enabled": true,
	"DirectMesssage_maxUsers": 8, "Presence_broadcast_disabled": false,
	"FileUpload_Enabled": true, "FileUpload_Enabled_Direct": true, "FileUpload_MaxFileSize": 104857600,
	"FileUpload_MediaTypeBlackList": "image/svg+xml", "FileUpload_MediaTypeWhiteList": "", "FileUpload_Storage_Type": "GridFS",
	"FileUpload_S3_Bucket": "", "FileUpload_S3_Acl": "", "FileUpload_S3_AWSAccessKeyId": "", "FileUpload_S3_AWSSecretAccessKey": "", "FileUpload_S3_CDN": "",
	"FileUpload_S3_Region": "", "FileUpload_S3_BucketURL": "", "FileUpload_S3_ForcePathStyle": false, "FileUpload_S3_URLExpiryTimeSpan": 120,
	"FileUpload_S3_Proxy_Avatars": false, "FileUpload_S3_Proxy_Uploads": false, "FileUpload_S3_Proxy_UserDataFiles": false,
	"FileUpload_ProtectFiles": true, "FileUpload_Restrict_to_room_members": true,
	"FileUpload_Restrict_to_users_who_can_access_room": false, "FileUpload_RotateImages": true,
	"DDP_Rate_Limit_IP_Enabled": true, "DDP_Rate_Limit_IP_Requests_Allowed": 120000, "DDP_Rate_Limit_IP_Interval_Time": 60000,
	"DDP_Rate_Limit_User_Enabled": true, "DDP_Rate_Limit_User_Requests_Allowed": 1200, "DDP_Rate_Limit_User_Interval_Time": 60000,
	"DDP_Rate_Limit_Connection_Enabled": true, "DDP_Rate_Limit_Connection_Requests_Allowed": 600,
	"DDP_Rate_Limit_Connection_Interval_Time": 60000, "DDP_Rate_Limit_User_By_Method_Enabled": true,
	"DDP_Rate_Limit_User_By_Method_Requests_Allowed": 20, "DDP_Rate_Limit_User_By_Method_Interval_Time": 10000,
	"DDP_Rate_Limit_Connection_By_Method_Enabled": true, "DDP_Rate_Limit_Connection_By_Method_Requests_Allowed": 10,
	"DDP_Rate_Limit_Connection_By_Method_Interval_Time": 10000,
	"Federation_Matrix_enabled":                         false, "Federation_Service_Enabled": false, "SSRF_Allowlist": "",
	"VideoConf_Default_Provider": "", "Cloud_Workspace_Client_Id": "", "Cloud_Workspace_Client_Secret": "",
	remainingDays: -1,
}

// remainingDays is the number of days until a workspace without a licence becomes
// read-only, -1 for never. It is the only cloud setting that everybody may see (facts 2.7).
const remainingDays = "Cloud_Workspace_AirGapped_Restrictions_Remaining_Days"

// registrationStatus is GET cloud.registrationStatus: a workspace is registered if
// it has credentials of the cloud.
func registrationStatus(c *call) (any, error) {
	id, secret := c.e.settingText("Cloud_Workspace_Client_Id"), c.e.settingText("Cloud_Workspace_Client_Secret")
	return Doc{"registrationStatus": Doc{"workspaceRegistered": id != "" && secret != "", "workspaceId": "", "uniqueId": "simulator", "token": "", "email": ""}}, nil
}

// privateSettings are the prefixes of settings left out of settings.public.
var privateSettings = []string{"Cloud_", "DDP_Rate_Limit_", "API_Enable_Rate", "SSRF_", "Rate_Limiter_", "Accounts_AllowedDomains", "FileUpload_S3_"}

func isPublicSetting(id string) bool {
	return id == remainingDays || !slices.ContainsFunc(privateSettings, func(p string) bool { return strings.HasPrefix(id, p) })
}

// seedSettings creates every setting once, taking initial values from the
// environment, then applies what OVERWRITE_SETTING_ forces (facts 2.2).
func (e *Engine) seedSettings() {
	for id, value := range defaults {
		if e.get(settings, id) != nil {
			continue
		}
		if raw, ok := e.env.initial[id]; ok {
			value = convertSetting(raw, value)
		}
		e.put(settings, Doc{"_id": id, "value": value})
	}
	if e.env.rootURL != "" && e.setting("Site_Url") != e.env.rootURL {
		e.put(settings, Doc{"_id": "Site_Url", "value": e.env.rootURL})
	}
	for id, raw := range e.env.overwrite {
		e.put(settings, Doc{"_id": id, "value": convertSetting(raw, defaults[id])})
	}
}

func (e *Engine) setting(id string) any {
	if d := e.get(settings, id); d != nil {
		return d["value"]
	}
	return defaults[id]
}

func (e *Engine) settingOn(id string) bool        { b, _ := e.setting(id).(bool); return b }
func (e *Engine) settingText(id string) string    { s, _ := e.setting(id).(string); return s }
func (e *Engine) settingNum(id string) int        { return Doc{"v": e.setting(id)}.num("v") }
func (e *Engine) settingList(id string) []string  { return asStrings(e.setting(id)) }
func (e *Engine) settingWords(id string) []string { return commas(e.settingText(id)) }

// siteURL is the public address; links and quotes depend on it.
func (e *Engine) siteURL() string { return strings.TrimRight(e.settingText("Site_Url"), "/") }

// settingsGet is GET settings/:_id.
func settingsGet(c *call) (any, error) {
	d := c.e.get(settings, c.path[0])
	if d == nil || slices.Contains(c.e.env.hidden, d.id()) {
		return nil, textError("Setting not found")
	}
	return d.only("_id", "value"), nil
}

// settingsSet is POST settings/:_id.
func settingsSet(c *call) (any, error) {
	if c.body.flag("execute") {
		return Doc{}, nil
	}
	return Doc{}, c.e.writeSetting(c.path[0], c.body["value"])
}

// settingsBulk is POST settings (8.6+).
func settingsBulk(c *call) (any, error) {
	for _, s := range c.body.docs("settings") {
		if err := c.e.writeSetting(s.str("_id"), s["value"]); err != nil {
			return nil, err
		}
	}
	return Doc{}, nil
}

func (e *Engine) writeSetting(id string, value any) error {
	d := e.get(settings, id)
	switch {
	case d == nil:
		return meteorError("error-setting-not-found", "Setting not found")
	case slices.Contains(e.env.hidden, id), slices.Contains(e.env.blocked, id):
		return meteorError("error-action-not-allowed", "Editing this setting is not allowed")
	}
	d = e.put(settings, Doc{"_id": id, "value": value})
	if isPublicSetting(id) {
		e.emit("stream-notify-all", "public-settings-changed", "", "updated", d.only("_id", "value"))
	}
	return nil
}

// settingsList is GET settings.
func settingsList(c *call) (any, error) {
	var l []Doc
	for _, d := range c.e.listed(settings, "_id") {
		if !slices.Contains(c.e.env.hidden, d.id()) {
			l = append(l, d.only("_id", "value"))
		}
	}
	return c.paged("settings", l), nil
}

// settingsPublic is GET settings.public.
func settingsPublic(c *call) (any, error) {
	return c.paged("settings", c.e.publicSettings(commas(c.q.Get("_id")))), nil
}

// publicSettings returns the named ones, or all.
func (e *Engine) publicSettings(ids []string) []Doc {
	var l []Doc
	for _, d := range e.listed(settings, "_id") {
		if isPublicSetting(d.id()) && (len(ids) == 0 || slices.Contains(ids, d.id())) {
			l = append(l, d.only("_id", "value").with(Doc{"enterprise": false}))
		}
	}
	return l
}
