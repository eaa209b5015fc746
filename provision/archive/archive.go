// Package archive saves an installation in one file and restores it from there: what
// is read at one moment and what may change meanwhile, which databases are dumped,
// which backups stay, and from which one an upgrade can be rolled back. The format
// of the file is that of package backup.
package archive
