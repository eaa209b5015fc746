package render

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"path"
	"strings"

	"appliance/provision/answers"
	"appliance/provision/secrets"
)

// settings are forced at every start of Rocket.Chat.
var settings = append([][2]string{{"Show_Setup_Wizard", "completed"}}, NeededSettings...)

// NeededSettings are the settings that the bridge relies on.
var NeededSettings = [][2]string{
	// The bridge subscribes to several streams of each room on one connection.
	{"DDP_Rate_Limit_Connection_Enabled", "false"},
	{"DDP_Rate_Limit_User_Enabled", "false"},
	{"DDP_Rate_Limit_User_By_Method_Enabled", "false"},
	{"DDP_Rate_Limit_Connection_By_Method_Enabled", "false"},
	{"Message_AllowUnrecognizedSlashCommand", "true"},
	{"Accounts_SetDefaultAvatar", "false"},
	{"Message_ErasureType", "Keep"},
	{"Accounts_TwoFactorAuthentication_By_Email_Auto_Opt_In", "false"},
	{"Federation_Matrix_enabled", "false"},
	{"Federation_Service_Enabled", "false"},
}

// rocketchatEnv renders the environment of Rocket.Chat, which has no other configuration. It
// holds secrets: only root may read the file.
func (in Input) rocketchatEnv() []byte {
	a := in.Answers
	v := &variables{}
	if !a.BundledRocketChat() { // Compose needs the file in any case
		v.text.WriteString("# This installation has no Rocket.Chat of its own.\n")
		return v.bytes()
	}
	v.text.WriteString("# Written by appliance from appliance.yaml. Holds secrets.\n")
	v.set("ROOT_URL", a.SiteURL())
	v.set("PORT", "3000")
	v.set("DEPLOY_METHOD", "docker")
	v.quoted("MONGO_URL", in.mongoURL())
	v.set("HTTP_FORWARDED_COUNT", "1")
	v.set("EVENT_LOOP_LAG_MS", "2000")
	v.setf("NODE_OPTIONS", "--max-old-space-size=%d", in.memory().rocketchat*3/4)

	if !in.Bootstrapped { // whoever sees the environment later must not see the password
		v.comment("The first administrator; taken out once there is one.")
		v.set("ADMIN_USERNAME", a.AdminUsername)
		v.set("ADMIN_NAME", "Administrator")
		v.set("ADMIN_EMAIL", a.AdminEmail)
		v.set("ADMIN_EMAIL_VERIFIED", "true")
		v.set("ADMIN_PASS", in.Secrets[secrets.AdminPassword].Reveal())
	}

	v.comment("The account of the bridge, and what lets it speak for others.")
	v.quoted("INITIAL_USER", in.initialUser())
	v.set("CREATE_TOKENS_FOR_USERS", "true")
	v.set("CREATE_TOKENS_FOR_USERS_SECRET", in.Secrets[secrets.CreateTokenSecret].Reveal())

	if token := string(in.RegistrationToken); token != "" {
		v.comment("Registers the workspace.")
		v.quoted("REG_TOKEN", token)
	}
	in.mail(v)
	in.uploads(v)
	v.comment("Settings.")
	v.set("SETTINGS_BLOCKED", "Show_Setup_Wizard")
	for _, s := range settings {
		v.set("OVERWRITE_SETTING_"+s[0], s[1])
	}
	if forced := a.ForcedSettings(); len(forced) > 0 {
		v.comment("Settings from the answer rocketchat_settings.")
		for _, s := range forced {
			v.quoted("OVERWRITE_SETTING_"+s.ID, s.Value)
		}
	}
	return v.bytes()
}

// mail renders the settings of the server through which Rocket.Chat sends mail.
func (in Input) mail(v *variables) {
	a := in.Answers
	if a.SMTPHost == "" {
		return
	}
	protocol := "smtp"
	if a.SMTPPort == 465 {
		protocol = "smtps"
	}
	v.comment("Mail.")
	v.set("OVERWRITE_SETTING_SMTP_Protocol", protocol)
	v.set("OVERWRITE_SETTING_SMTP_Host", a.SMTPHost)
	v.setf("OVERWRITE_SETTING_SMTP_Port", "%d", a.SMTPPort)
	v.set("OVERWRITE_SETTING_SMTP_IgnoreTLS", "false")
	v.quoted("OVERWRITE_SETTING_SMTP_Username", a.SMTPUsername)
	v.quoted("OVERWRITE_SETTING_SMTP_Password", string(in.SMTPPassword))
	v.quoted("OVERWRITE_SETTING_From_Email", cmp.Or(a.SMTPFrom, a.AdminEmail))
}

// uploads renders where Rocket.Chat keeps files. Files that are elsewhere stay there, and are
// read with the values of these settings that Rocket.Chat has stored.
func (in Input) uploads(v *variables) {
	storage, external := in.Answers.Storage()
	switch {
	case in.Answers.Uploads == "":
		return
	case !external:
		v.comment("Files are in the database.")
		v.set("OVERWRITE_SETTING_FileUpload_Storage_Type", "GridFS")
		return
	}
	v.comment("Files are in S3-compatible storage. Rocket.Chat relays them: people need no access to it.")
	v.set("OVERWRITE_SETTING_FileUpload_Storage_Type", "AmazonS3")
	v.quoted("OVERWRITE_SETTING_FileUpload_S3_Bucket", storage.Bucket)
	v.quoted("OVERWRITE_SETTING_FileUpload_S3_BucketURL", storage.Endpoint)
	v.quoted("OVERWRITE_SETTING_FileUpload_S3_Region", storage.Region)
	v.set("OVERWRITE_SETTING_FileUpload_S3_ForcePathStyle", "true")
	v.set("OVERWRITE_SETTING_FileUpload_S3_SignatureVersion", "v4") // ignored by versions of Rocket.Chat without it
	v.quoted("OVERWRITE_SETTING_FileUpload_S3_AWSAccessKeyId", in.UploadsAccessKey)
	v.quoted("OVERWRITE_SETTING_FileUpload_S3_AWSSecretAccessKey", in.UploadsSecretKey.Reveal())
	for _, kind := range []string{"Uploads", "Avatars", "UserDataFiles"} {
		v.set("OVERWRITE_SETTING_FileUpload_S3_Proxy_"+kind, "true")
	}
	if len(in.UploadsCA) > 0 {
		v.set("NODE_EXTRA_CA_CERTS", rocketChatFiles+"/"+path.Base(uploadsCA))
	}
}

func (in Input) mongoURL() string {
	if !in.Answers.BundledMongo() {
		return externalMongo(in.Answers)
	}
	u := url.URL{
		Scheme: "mongodb", User: url.UserPassword("rocketchat", in.Secrets[secrets.MongoPassword].Reveal()),
		Host: "mongo:27017", Path: "/rocketchat", RawQuery: "authSource=admin&replicaSet=rs0",
	}
	return u.String()
}

// rocketChatFiles is where Rocket.Chat finds files in its container; the rest are paths here.
const (
	rocketChatFiles  = "/etc/appliance"
	rocketChatConfig = "config/rocketchat"
	mongoCA          = rocketChatConfig + "/mongo_ca.pem"
	uploadsCA        = rocketChatConfig + "/uploads_ca.pem"
)

// rocketChatHasFiles reports whether Rocket.Chat reads files that are rendered here.
func (in Input) rocketChatHasFiles() bool { return len(in.MongoCA) > 0 || len(in.UploadsCA) > 0 }

// externalMongo returns the address of the operator's MongoDB, with the file of its authorities.
func externalMongo(a answers.Answers) string {
	m, err := answers.ParseMongo(a.MongoURL)
	if err != nil || a.MongoCAFile == "" {
		return a.MongoURL
	}
	more := "tlsCAFile=" + rocketChatFiles + "/" + path.Base(mongoCA)
	if on, _ := m.TLS(); !on {
		more = "tls=true&" + more
	}
	before, query, _ := strings.Cut(a.MongoURL, "?")
	if query != "" {
		more = query + "&" + more
	}
	if _, rest, _ := strings.Cut(before, "://"); !strings.Contains(rest, "/") {
		before += "/"
	}
	return before + "?" + more
}

// initialUser returns the document of the bridge account. It has a token and no password, so
// nobody can sign in as it.
func (in Input) initialUser() string {
	token := in.Secrets[secrets.RocketChatToken].Reveal()
	hash := sha256.Sum256([]byte(token))
	type object = map[string]any
	document, _ := json.Marshal(object{ // cannot fail: strings and booleans only
		"_id": BridgeUserID, "username": "matrix-bridge", "name": "Matrix bridge",
		"type": "bot", "active": true, "roles": []string{"bot", "admin"},
		"services": object{"resume": object{"loginTokens": []object{{
			"type": "personalAccessToken", "name": "bridge", "createdAt": "2020-01-01T00:00:00.000Z",
			"lastTokenPart": token[max(0, len(token)-6):], "bypassTwoFactor": true,
			"hashedToken": base64.StdEncoding.EncodeToString(hash[:]),
		}}}},
	})
	return string(document)
}
