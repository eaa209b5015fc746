// Package archive backs up an installation to one file and restores it: what belongs
// to the snapshot, which databases are dumped, which backups are kept, and which one an
// upgrade can be rolled back to. Package backup defines the file format.
package archive
