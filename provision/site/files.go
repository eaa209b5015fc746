package site

// Files and directories below the installation directory that are not rendered
// from the answers.
const (
	BackupsDir   = "backups"               // where backups go unless a file is named; neither a backup nor a purge includes it
	BackupKey    = "backup.key"            // the private key to the backups; a purge keeps it
	RestoreDir   = ".restore"              // what was unpacked from a backup and is not in place yet
	VersionsFile = "versions.env"          // images other than this program's, as given to an upgrade
	DrillDir     = ".drill"                // a backup that is restored beside the installation to test it
	UpgradeFile  = ".upgrade"              // exists while an upgrade is in progress
	LastBackup   = ".last_backup"          // its time is the time of the last backup
	GrowthFile   = ".growth.json"          // how full the disk was each time the doctor looked
	ChoresFile   = ".chores.json"          // which backup, upload or drill failed the last time
	AlarmFile    = ".alarm.json"           // what the administrator was told last
	PurgedFile   = ".purged"               // what a purge leaves for a later uninstall
	OverrideFile = "compose.override.yaml" // the operator's own addition to the Compose file
)
