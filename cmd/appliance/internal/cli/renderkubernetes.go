package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/spf13/cobra"

	"appliance/provision/certs"
	"appliance/provision/kubernetes"
	"appliance/provision/site"
)

type renderKubernetesOptions struct {
	out, image, name, namespace string
	database, databaseCA        string
	values, set                 []string
}

func renderKubernetesCommand(a *app) *cobra.Command {
	var o renderKubernetesOptions
	cmd := &cobra.Command{
		Use:   "kubernetes",
		Short: "Write manifests for Kubernetes, and values for the Helm chart",
		Long: "Writes the bridge, its front and, if you name a database for it, Dendrite as Kubernetes manifests, from the\n" +
			"answers of this installation. Rocket.Chat comes from its own chart, Synapse from Element's. Secrets are in files\n" +
			"of their own with mode 0600: secrets.yaml and, for a homeserver elsewhere, registration.yaml. values.yaml is the\n" +
			"same for helm install. See docs/kubernetes.md.",
		Example: "  appliance render kubernetes --image registry.example.org/appliance:v1 --value rocketchat.url=http://rocketchat-rocketchat.rocketchat.svc\n" +
			"  appliance render kubernetes --image registry.example.org/appliance:v1 --values cluster.yaml --homeserver-database /root/dendrite_database",
		Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			return a.with(func(on *site.Site) error { return renderKubernetes(a, on, o) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.out, "out", "kubernetes", "the `DIR` to write to; files of an earlier run are replaced")
	flags.StringVar(&o.image, "image", "", "the bridge's `IMAGE` in a registry that the cluster reaches")
	flags.StringVar(&o.name, "name", "appliance", "what the names of all objects begin with")
	flags.StringVar(&o.namespace, "namespace", "appliance", "the namespace of the cluster")
	flags.StringArrayVar(&o.set, "value", nil, "a value of the chart as `KEY=VALUE`; may be repeated")
	flags.StringArrayVar(&o.values, "values", nil, "a `FILE` of values of the chart; may be repeated")
	flags.StringVar(&o.database, "homeserver-database", "", "`FILE` with the address of a PostgreSQL for Dendrite, which is then included")
	flags.StringVar(&o.databaseCA, "homeserver-database-ca", "", "`FILE` with the authorities of that PostgreSQL, in PEM, if they are its own")
	_ = cmd.MarkFlagDirname("out") // the flags exist
	_ = cmd.MarkFlagFilename("values", "yaml", "yml")
	_ = cmd.MarkFlagFilename("homeserver-database")
	_ = cmd.MarkFlagFilename("homeserver-database-ca", "pem", "crt")
	return cmd
}

// dnsLabel matches the names that Kubernetes accepts for these objects.
var dnsLabel = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$`)

func renderKubernetes(a *app, on *site.Site, o renderKubernetesOptions) error {
	for flag, value := range map[string]string{"name": o.name, "namespace": o.namespace} {
		if !dnsLabel.MatchString(value) {
			return &usageError{err: fmt.Errorf("--%s is %q, but must be up to 40 lower-case letters, digits and dashes, with a letter first and no dash last", flag, value)}
		}
	}
	if o.image == "" {
		return &usageError{err: errors.New("--image is missing: the bridge's image in a registry that the cluster reaches"), hint: "see how it gets there in docs/kubernetes.md"}
	}
	in := kubernetes.Installation{
		Image:   o.image,
		Release: kubernetes.Release{Name: o.name, Namespace: o.namespace, Version: a.buildInfo().Version},
	}
	var err error
	if in.Render, err = kubernetes.Read(on); err != nil {
		return err
	}
	in.Render.Image = o.image
	if in.HomeserverDatabase, in.HomeserverDatabaseCA, err = o.homeserverDatabase(); err != nil {
		return err
	}
	for _, name := range o.values {
		more, err := kubernetes.ReadValues(name)
		if err != nil {
			return err
		}
		in.Settings = append(in.Settings, more)
	}
	for _, text := range o.set {
		more, err := kubernetes.ParseSetting(text)
		if err != nil {
			return err
		}
		in.Settings = append(in.Settings, more)
	}
	files, err := in.Files()
	if err != nil {
		return err
	}
	written, err := kubernetes.Write(o.out, files)
	if err != nil {
		return err
	}
	return showKubernetes(a, o, written)
}

// homeserverDatabase reads the files that describe Dendrite's PostgreSQL.
func (o renderKubernetesOptions) homeserverDatabase() (address string, authorities []byte, err error) {
	switch {
	case o.database != "":
		if address, err = kubernetes.ReadAddress(o.database); err != nil {
			return "", nil, err
		}
	case o.databaseCA != "":
		return "", nil, &usageError{err: errors.New("--homeserver-database-ca goes with --homeserver-database, which is missing")}
	}
	if authorities, err = certs.Authorities(o.databaseCA); err != nil {
		return "", nil, &kubernetes.ValueError{Reason: "--homeserver-database-ca: " + err.Error()}
	}
	return address, authorities, nil
}

func showKubernetes(a *app, o renderKubernetesOptions, written []string) error {
	type result struct {
		Name      string   `json:"name"`
		Namespace string   `json:"namespace"`
		Files     []string `json:"files"`
	}
	return a.show(result{o.name, o.namespace, written}, func(w io.Writer) {
		for _, name := range written {
			fmt.Fprintf(w, "wrote %s\n", name)
		}
		if slices.Contains(written, filepath.Join(o.out, kubernetes.RegistrationFile)) {
			fmt.Fprintf(w, "\n%s and %s hold secrets: keep them out of version control.\n", kubernetes.SecretsFile, kubernetes.RegistrationFile)
			fmt.Fprintf(w, "%s is for the namespace of your homeserver; see docs/kubernetes.md\n", kubernetes.RegistrationFile)
		} else {
			fmt.Fprintf(w, "\n%s holds secrets: keep it out of version control.\n", kubernetes.SecretsFile)
		}
		fmt.Fprintf(w, "Then:\n\n")
		for _, name := range []string{kubernetes.NamespaceFile, kubernetes.SecretsFile, kubernetes.ManifestsFile} {
			fmt.Fprintf(w, "  kubectl apply --server-side -f %s\n", site.Quoted(filepath.Join(o.out, name)))
		}
	})
}
